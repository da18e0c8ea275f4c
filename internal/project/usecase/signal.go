package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// signalTimeout bounds what a signal may add to the call that has found a project done.
const signalTimeout = 5 * time.Second

// completions is the namespace of the event ids (RFC 9562 §5.5). It never changes: the ids would with it.
var completions = uuid.MustParse("0d3c6d5e-6e1f-5b8a-9a53-7d0c2b3f4e61")

// CompletedEventID is the id of the job.completed of a project: the same for everybody who finds it done.
func CompletedEventID(projectID string) string {
	return "evt_" + uuid.NewSHA1(completions, []byte(projectID)).String()
}

// signaller says that a project is done, once.
type signaller struct {
	tx          project.Transactor
	clock       project.Clock
	tracker     project.Tracker
	completions project.CompletionRepository
	publisher   event.Publisher
	listener    project.CompletionListener
	observer    project.Observer
}

func newSignaller(d Deps) signaller {
	return signaller{
		tx: d.Tx, clock: d.Clock, tracker: d.Tracker, completions: d.Completions, publisher: d.Publisher,
		listener: d.Listener, observer: d.Observer,
	}
}

// signal puts job.completed into the outbox unless it has been there before, and only then tells the tracker. A crash
// between the two makes somebody come here again, which is harmless; the other way round the event would be lost. The
// caller hanging up does not stop it.
func (s signaller) signal(ctx context.Context, change project.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signalTimeout)
	defer cancel()
	completion := project.Completion{Progress: change.Progress, Owner: change.Owner, CompletedAt: s.clock.Now()}
	first := false
	err := s.tx.WithinTx(ctx, func(ctx context.Context) error {
		var err error
		first, err = s.completions.Add(ctx, change.ProjectID, CompletedEventID(change.ProjectID), completion.CompletedAt)
		if err != nil || !first {
			return err
		}
		if err := s.publisher.Publish(ctx, completed(completion)); err != nil {
			return err
		}
		if s.listener == nil {
			return nil
		}
		return s.listener.ProjectCompleted(ctx, completion)
	})
	if err != nil {
		return fmt.Errorf("project: putting job.completed into the outbox: %w", err)
	}
	if first {
		s.observer.Completed(completion)
	}
	return s.tracker.Signalled(ctx, change.ProjectID)
}

func completed(c project.Completion) event.Event {
	return event.Event{
		ID: CompletedEventID(c.ProjectID), Key: event.JobCompleted, Time: c.CompletedAt, ProjectID: c.ProjectID,
		Data: event.JobCompletedData{
			ProjectID: c.ProjectID, UserID: c.Owner, Total: c.Total, Done: c.Done, Errors: c.Errors, CompletedAt: c.CompletedAt,
		},
	}
}
