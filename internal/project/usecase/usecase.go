// Package usecase owns what can be done with a project's progress, one file per verb. Counting is for those who do the
// work, Sweeper for what was left behind by a crash or a lost answer, Reading for those who watch.
//
// Whoever finds a project done and unsignalled puts its job.completed into the outbox, with an event id that follows
// from the project id: once per project, however many find it. It does not promise that the event is there when a
// verb returns: while the database is away it is the sweeper's work.
package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// Deps is what counting stands on.
type Deps struct {
	Tx          project.Transactor
	Clock       project.Clock
	Tracker     project.Tracker
	Completions project.CompletionRepository
	Publisher   event.Publisher            // must take part in the transactions of Tx
	Listener    project.CompletionListener // nil: nobody else needs to know
	Announcer   project.Announcer
	Observer    project.Observer
}

// Counting holds the verbs of those who do the work. Each may be repeated after any error. They answer ErrBody for what
// cannot be, ErrNotFound for a project that is not there, ErrUnavailable while Redis is away, and otherwise the project
// as it is afterwards. Not to be called in a transaction. Safe for concurrent use.
type Counting struct {
	tracker   project.Tracker
	announcer project.Announcer
	observer  project.Observer
	signaller signaller
}

// NewCounting needs everything but a listener.
func NewCounting(d Deps) *Counting {
	return &Counting{tracker: d.Tracker, announcer: d.Announcer, observer: d.Observer, signaller: newSignaller(d)}
}

// settle is the end of every verb that changes a project.
func (c *Counting) settle(ctx context.Context, change project.Change, err error) (project.Change, error) {
	if err != nil {
		return project.Change{}, err
	}
	if !change.Found() {
		return project.Change{}, project.ErrNotFound
	}
	if !change.Refused {
		c.announcer.Announce(change.Owner, change.Progress)
	}
	if change.Unsignalled {
		// What was asked for has been counted: an error would only have it asked for again.
		if err := c.signaller.signal(ctx, change); err != nil {
			c.observer.SignalFailed(change.ProjectID, err)
		}
	}
	if change.Refused {
		return change, project.ErrFinal
	}
	return change, nil
}
