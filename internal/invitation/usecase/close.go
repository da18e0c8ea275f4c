package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
)

// CloserDeps are the dependencies of a [Closer]. All are required.
type CloserDeps struct {
	Batches  invitation.BatchLocker
	Accounts invitation.AccountFinder
	Events   event.Publisher
}

// Closer closes batches whose project is complete. It is safe for concurrent use.
type Closer struct{ deps CloserDeps }

// NewCloser returns a [Closer].
func NewCloser(d CloserDeps) *Closer { return &Closer{deps: d} }

// Close closes the batch that the project is, if it is one, and publishes the mail to its administrator, once and to
// their present address. It takes part in the transaction of ctx, the one that announces the completion.
func (c *Closer) Close(ctx context.Context, p invitation.Completion) error {
	batch, err := c.deps.Batches.Lock(ctx, p.ProjectID)
	if errors.Is(err, invitation.ErrBatchNotFound) {
		return nil
	}
	if err != nil || !batch.Complete(p.CompletedAt) {
		return err
	}
	if err := c.deps.Batches.Save(ctx, batch); err != nil {
		return err
	}
	admin, err := c.deps.Accounts.Account(ctx, batch.AdminID)
	if errors.Is(err, invitation.ErrAccountNotFound) { // there is nobody to write to
		return nil
	}
	if err != nil {
		return err
	}
	return c.deps.Events.Publish(ctx, event.Event{
		ID:        event.NewID(),
		Key:       event.EmailProjectCompletedRequested,
		Time:      p.CompletedAt,
		ProjectID: batch.ID,
		Data: event.ProjectCompletedMail{
			Recipient: admin.Email,
			Locale:    batch.Locale,
			ProjectID: batch.ID,
			Total:     p.Total,
			Done:      p.Done,
			Errors:    p.Errors,
		},
	})
}
