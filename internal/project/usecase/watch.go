package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Watch is Progress that goes on. A change between the reading and the watching is not lost: a watcher gets the progress
// once more than it changes.
func (r *Reading) Watch(ctx context.Context, actor project.Actor, projectID string) (project.Watching, error) {
	now, err := r.Progress(ctx, actor, projectID)
	if err != nil {
		return project.Watching{}, err
	}
	changes, stop := r.watcher.Watch(projectID)
	return project.Watching{Now: now, Changes: changes, Stop: stop}, nil
}
