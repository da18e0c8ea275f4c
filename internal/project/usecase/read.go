package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// ReadingDeps are the dependencies of [Reading]. All are required.
type ReadingDeps struct {
	Progress project.ProgressReader
	Watcher  project.ProgressWatcher
}

// Reading shows progress to the project's owner and to administrators. Its verbs return [project.ErrNotFound] for a
// project that does not exist, and to any other user, and [project.ErrUnavailable] while Redis is unavailable. Safe for
// concurrent use.
type Reading struct{ deps ReadingDeps }

// NewReading returns a Reading on d.
func NewReading(d ReadingDeps) *Reading { return &Reading{d} }

// Progress returns the current progress of the project.
func (r *Reading) Progress(ctx context.Context, actor project.Actor, projectID string) (project.Progress, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Progress{}, err
	}
	progress, err := r.deps.Progress.Progress(ctx, projectID)
	if err != nil {
		return project.Progress{}, err
	}
	if !progress.Found() {
		return project.Progress{}, project.ErrNotFound
	}
	if actor.Admin {
		return progress, nil
	}
	owner, err := r.deps.Progress.Owner(ctx, projectID)
	if err != nil {
		return project.Progress{}, err
	}
	if owner == "" || owner != actor.UserID {
		return project.Progress{}, project.ErrNotFound
	}
	return progress, nil
}
