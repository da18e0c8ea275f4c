package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Fail gives a project up: it will have no job.completed. The first reason stays. For a project that is done it returns
// [project.ErrFinal] together with the unchanged project.
func (c *Counting) Fail(ctx context.Context, projectID, reason string) (project.Change, error) {
	if err := cmp.Or(project.CheckID("project_id", projectID), project.CheckReason(reason)); err != nil {
		return project.Change{}, err
	}
	change, err := c.deps.Progress.Fail(ctx, projectID, reason)
	return c.finish(ctx, change, err)
}
