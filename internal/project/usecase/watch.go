package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Watching is a project that is being watched.
type Watching struct {
	Now     project.Progress        // as it was when the watching began
	Changes <-chan project.Progress // see project.Watcher
	Stop    func()                  // must be called
}

// Watch is Progress that goes on. A change between the reading and the watching is not lost: a watcher gets the progress
// once more than it changes.
func (r *Reading) Watch(ctx context.Context, actor project.Actor, projectID string) (Watching, error) {
	now, err := r.Progress(ctx, actor, projectID)
	if err != nil {
		return Watching{}, err
	}
	changes, stop := r.watcher.Watch(projectID)
	return Watching{Now: now, Changes: changes, Stop: stop}, nil
}
