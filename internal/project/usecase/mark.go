package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Mark counts 1 to project.MaxItems items that have ended, each once however often it is marked; ok wins over failed.
func (c *Counting) Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Change{}, err
	}
	if err := project.CheckItems(items); err != nil {
		return project.Change{}, err
	}
	change, err := c.tracker.Mark(ctx, projectID, items)
	return c.settle(ctx, change, err)
}
