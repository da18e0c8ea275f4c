package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/project"
)

// Reading holds the verbs of those who watch: the project's owner and administrators. They answer ErrNotFound for a
// project that is not there, ErrNotYours to everybody else, who is told no more than that it is there, and
// ErrUnavailable while Redis is away. Safe for concurrent use.
type Reading struct {
	reader  project.Reader
	watcher project.Watcher
}

// NewReading needs both.
func NewReading(reader project.Reader, watcher project.Watcher) *Reading {
	return &Reading{reader: reader, watcher: watcher}
}

// Progress is how far the project is now.
func (r *Reading) Progress(ctx context.Context, actor project.Actor, projectID string) (project.Progress, error) {
	if err := project.CheckID("project_id", projectID); err != nil {
		return project.Progress{}, err
	}
	progress, err := r.reader.Progress(ctx, projectID)
	if err != nil {
		return project.Progress{}, err
	}
	if !progress.Found() {
		return project.Progress{}, project.ErrNotFound
	}
	if actor.Admin {
		return progress, nil
	}
	owner, err := r.reader.Owner(ctx, projectID)
	if err != nil {
		return project.Progress{}, err
	}
	if owner == "" || owner != actor.UserID {
		return project.Progress{}, project.ErrNotYours
	}
	return progress, nil
}
