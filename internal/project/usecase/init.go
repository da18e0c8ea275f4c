package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Init makes a project that can be counted, or gives one that is there what it lacks; nothing is overwritten. total is
// the number of its items, 0 while that is not known.
func (c *Counting) Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Change{}, err
	}
	if err := project.CheckID("user_id", owner); err != nil {
		return project.Change{}, err
	}
	if err := project.CheckTotal(total); err != nil {
		return project.Change{}, err
	}
	change, err := c.tracker.Init(ctx, projectID, owner, total)
	return c.settle(ctx, change, err)
}
