package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// CompletedProject is a project that has crossed the finish line.
type CompletedProject struct {
	ProjectID   string
	Total       int64
	Done        int64 // failures included
	Errors      int64
	CompletedAt time.Time
}

// BatchCloser hears of every project that is done. Safe for concurrent use.
type BatchCloser struct {
	batches authentication.BatchRepository
	users   authentication.UserRepository
	events  event.Publisher
}

// NewBatchCloser panics when a dependency is missing.
func NewBatchCloser(
	batches authentication.BatchRepository, users authentication.UserRepository, events event.Publisher,
) *BatchCloser {
	if batches == nil || users == nil || events == nil {
		panic("authentication/usecase: NewBatchCloser needs a BatchRepository, a UserRepository and a Publisher")
	}
	return &BatchCloser{batches, users, events}
}

// ProjectCompleted closes the batch that the project is, if it is one, and has its administrator told, once, at the address
// he has now. It takes part in the transaction of ctx: the one that announces the completion.
func (b *BatchCloser) ProjectCompleted(ctx context.Context, p CompletedProject) error {
	batch, err := b.batches.Lock(ctx, p.ProjectID)
	if errors.Is(err, authentication.ErrBatchNotFound) {
		return nil
	}
	if err != nil || !batch.Complete(p.CompletedAt) {
		return err
	}
	if err := b.batches.Save(ctx, batch); err != nil {
		return err
	}
	admin, err := b.users.ByID(ctx, batch.AdminID)
	if errors.Is(err, authentication.ErrUserNotFound) { // nobody is left to be told
		return nil
	}
	if err != nil {
		return err
	}
	return b.events.Publish(ctx, event.Event{
		ID: event.NewID(), Key: event.EmailProjectCompletedRequested, Time: p.CompletedAt, ProjectID: batch.ID,
		Data: event.ProjectCompletedMail{
			Recipient: admin.Email, Locale: batch.Locale, ProjectID: batch.ID, Total: p.Total, Done: p.Done, Errors: p.Errors,
		},
	})
}
