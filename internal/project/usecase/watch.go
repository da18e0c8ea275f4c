package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Watch returns the current progress and the changes after it. A change between the read and the subscription is not
// lost, because a new watcher receives the progress once without a change.
func (r *Reading) Watch(ctx context.Context, actor project.Actor, projectID string) (project.Watch, error) {
	now, err := r.Progress(ctx, actor, projectID)
	if err != nil {
		return project.Watch{}, err
	}
	changes, stop := r.deps.Watcher.Watch(projectID)
	return project.Watch{
		Now:     now,
		Changes: changes,
		Stop:    stop,
	}, nil
}
