package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Mark counts 1 to [project.MaxItems] items that have ended. An item counts once, however often it is marked; ok
// replaces failed and never the reverse.
func (c *Counting) Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error) {
	if err := cmp.Or(project.CheckID("project_id", projectID), project.CheckItems(items)); err != nil {
		return project.Change{}, err
	}
	change, err := c.deps.Progress.Mark(ctx, projectID, items)
	return c.finish(ctx, change, err)
}
