package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Forget deletes the progress of a project, if there is any. Its completion stays recorded: a project that is counted
// again under the same id has no second job.completed.
func (c *Counting) Forget(ctx context.Context, projectID string) error {
	if err := project.CheckID("project_id", projectID); err != nil {
		return err
	}
	return c.deps.Progress.Forget(ctx, projectID)
}
