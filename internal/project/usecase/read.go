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

// Reading shows progress to the project's owner and to administrators, and to other services. Its verbs for users return
// [project.ErrNotFound] for a project that does not exist, and to any other user; all return [project.ErrUnavailable]
// while Redis is unavailable. Safe for concurrent use.
type Reading struct{ deps ReadingDeps }

// NewReading returns a Reading on d.
func NewReading(d ReadingDeps) *Reading { return &Reading{d} }

// Progress returns the current progress of the project.
func (r *Reading) Progress(ctx context.Context, actor project.Actor, projectID string) (project.Progress, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Progress{}, err
	}
	progress, owner, err := r.deps.Progress.Progress(ctx, projectID)
	if err != nil {
		return project.Progress{}, err
	}
	owns := owner != "" && project.CanonicalUser(owner) == project.CanonicalUser(actor.UserID)
	if !progress.Found() || !owns && !actor.Admin {
		return project.Progress{}, project.ErrNotFound
	}
	return progress, nil
}

// Report returns the current progress of the project and its owner, "" while that is unknown, to another service. A
// project that does not exist has [project.StatusNotFound].
func (r *Reading) Report(ctx context.Context, projectID string) (p project.Progress, owner string, err error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Progress{}, "", err
	}
	return r.deps.Progress.Progress(ctx, projectID)
}
