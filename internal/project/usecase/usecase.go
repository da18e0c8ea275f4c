// Package usecase owns the use cases of project progress, one file per verb. [Counting] is for the services and
// consumers that do the work, [Reading] for the people who wait for it, and [Sweeper] completes what a crash or a lost
// reply left open.
//
// A verb that finds a project done without job.completed in the outbox stores the event there, with an id that is
// derived from the project id: one event per project, however many verbs find it at once. The package does not
// promise that the event is stored when a verb returns: while the database is unavailable, the sweeper does it later.
package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// Deps are the dependencies of [Counting] and [Sweeper]. All are required, except Listener.
type Deps struct {
	Tx          project.Transactor
	Clock       project.Clock
	Progress    project.ProgressStore // not used by Sweeper
	Open        project.OpenProjects
	Completions project.CompletionRepository
	Events      event.Publisher            // must join the transactions of Tx
	Listener    project.CompletionListener // nil: none
	Updates     project.ProgressPublisher
	Observer    project.Observer
}

// Counting changes the progress of projects. Each verb may be repeated after any error, and must not be called in a
// transaction. The verbs return [project.ErrBody] for invalid input, [project.ErrNotFound] for a project that does not
// exist, [project.ErrUnavailable] while Redis is unavailable, and otherwise the project after the change. Safe for
// concurrent use.
type Counting struct{ deps Deps }

// NewCounting returns a Counting on d.
func NewCounting(d Deps) *Counting { return &Counting{d} }

// finish is the common end of every verb that changes a project.
func (c *Counting) finish(ctx context.Context, change project.Change, err error) (project.Change, error) {
	if err != nil {
		return project.Change{}, err
	}
	if !change.Found() {
		return project.Change{}, project.ErrNotFound
	}
	if !change.Refused {
		c.deps.Updates.Publish(change.Owner, change.Progress)
	}
	if change.Unsignalled {
		// The change itself is stored: an error would only make the caller repeat it.
		if err := c.deps.signal(ctx, change); err != nil {
			c.deps.Observer.SignalFailed(change.ProjectID, err)
		}
	}
	if change.Refused {
		return change, project.ErrFinal
	}
	return change, nil
}
