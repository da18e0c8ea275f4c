package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Init creates a project, or fills in what an existing one lacks; it overwrites nothing. total is the number of
// items, 0 while that is unknown.
func (c *Counting) Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error) {
	err := cmp.Or(
		project.CheckID("project_id", projectID),
		project.CheckID("user_id", owner),
		project.CheckTotal(total),
	)
	if err != nil {
		return project.Change{}, err
	}
	change, err := c.deps.Progress.Init(ctx, projectID, owner, total)
	return c.finish(ctx, change, err)
}
