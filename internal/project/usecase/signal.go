package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// signalTimeout bounds the time that storing job.completed adds to the verb that found the project done.
const signalTimeout = 5 * time.Second

// completions is the namespace of the event ids (RFC 9562 §5.5). A different namespace would change every id.
var completions = uuid.MustParse("0d3c6d5e-6e1f-5b8a-9a53-7d0c2b3f4e61")

// CompletedEventID returns the id of a project's job.completed: the same in every process and at every attempt.
func CompletedEventID(projectID string) string {
	return "evt_" + uuid.NewSHA1(completions, []byte(projectID)).String()
}

// signal stores job.completed in the outbox, unless that happened before, and then removes the project from the open
// ones. This order loses nothing: a crash in between only repeats a harmless call. The caller's cancellation does not
// stop it.
func (d Deps) signal(ctx context.Context, change project.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signalTimeout)
	defer cancel()
	completion := project.Completion{
		Progress:    change.Progress,
		Owner:       change.Owner,
		CompletedAt: d.Clock.Now(),
	}
	first := false
	err := d.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		var err error
		first, err = d.Completions.Add(ctx, change.ProjectID, CompletedEventID(change.ProjectID), completion.CompletedAt)
		if err != nil || !first {
			return err
		}
		if err := d.Events.Publish(ctx, completedEvent(completion)); err != nil {
			return err
		}
		if d.Listener == nil {
			return nil
		}
		return d.Listener.ProjectCompleted(ctx, completion)
	})
	if err != nil {
		return fmt.Errorf("project: storing job.completed in the outbox: %w", err)
	}
	if first {
		d.Observer.Completed(completion)
	}
	return d.Open.MarkSignalled(ctx, change.ProjectID)
}

func completedEvent(c project.Completion) event.Event {
	return event.Event{
		ID:        CompletedEventID(c.ProjectID),
		Key:       event.JobCompleted,
		Time:      c.CompletedAt,
		ProjectID: c.ProjectID,
		Data: event.JobCompletedData{
			ProjectID:   c.ProjectID,
			UserID:      c.Owner,
			Total:       c.Total,
			Done:        c.Done,
			Errors:      c.Errors,
			CompletedAt: c.CompletedAt,
		},
	}
}
