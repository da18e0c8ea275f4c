package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Fail gives a project up; there will be no job.completed. The first reason stays. ErrFinal, with the project as it is:
// it is done.
func (c *Counting) Fail(ctx context.Context, projectID, reason string) (project.Change, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Change{}, err
	}
	if err := project.CheckReason(reason); err != nil {
		return project.Change{}, err
	}
	change, err := c.tracker.Fail(ctx, projectID, reason)
	return c.settle(ctx, change, err)
}
