package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// SetTotal stores the number of items; final means that no more will be found. For a project that is done or failed
// with another total it returns [project.ErrFinal] together with the unchanged project.
func (c *Counting) SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error) {
	if err := cmp.Or(project.CheckID("project_id", projectID), project.CheckTotal(total)); err != nil {
		return project.Change{}, err
	}
	change, err := c.deps.Progress.SetTotal(ctx, projectID, total, final)
	return c.finish(ctx, change, err)
}
