package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

var errLeaseLost = errors.New("notification: the lease of the mail could not be renewed in time")

// hold renews the lease of a try, claimed not before since, until release is called. The context that it returns ends
// with ctx, and when the lease was lost or could not be renewed: early enough for the conversation to end before another
// try may begin. A shutdown ends the context and not the renewing: the conversation may have to be recorded yet.
func (s *Sender) hold(
	ctx context.Context, claimed notification.Delivery, since time.Time,
) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if !s.renewUntil(renewing, claimed, since) {
			cancel(errLeaseLost)
		}
	}()
	return held, func() {
		stop()
		<-ended
		cancel(nil)
	}
}

// renewUntil renews the lease until ctx ends. It returns false as soon as the try must not go on.
func (s *Sender) renewUntil(ctx context.Context, claimed notification.Delivery, since time.Time) bool {
	usable := s.deps.Lease * 4 / 5 // the rest is the conversation's, to end in
	for {
		left := time.Until(since.Add(usable))
		if left <= 0 {
			return false
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(min(left, s.deps.RenewEvery)):
		}
		began := time.Now()
		kept, err := s.renew(ctx, claimed, since.Add(usable))
		switch {
		case err != nil: // the next try may succeed
		case !kept:
			return false
		default:
			since = began
		}
	}
}

// renew renews the lease once and reports whether the try still holds the mail.
func (s *Sender) renew(ctx context.Context, claimed notification.Delivery, deadline time.Time) (kept bool, err error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = s.updateEntry(ctx, claimed.EventID, func(d *notification.Delivery) {
		kept = d.Renew(claimed.Attempts, s.deps.Clock.Now(), s.deps.Lease)
	})
	return kept, err
}
