package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// SetTotal says how many items there are; final, that there will be no more. ErrFinal, with the project as it is: it is
// done or has failed, and this is not what it says already.
func (c *Counting) SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Change{}, err
	}
	if err := project.CheckTotal(total); err != nil {
		return project.Change{}, err
	}
	change, err := c.tracker.SetTotal(ctx, projectID, total, final)
	return c.settle(ctx, change, err)
}
