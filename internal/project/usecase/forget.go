package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Forget removes the progress of a project, whether it is there or not. That it was completed stays known: one that is
// counted anew under the same id is not announced again.
func (c *Counting) Forget(ctx context.Context, projectID string) error {
	if err := project.CheckID("project_id", projectID); err != nil {
		return err
	}
	return c.tracker.Forget(ctx, projectID)
}
