package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// reasonDeleted is the reason of a cancellation because the user is deleted.
const reasonDeleted = "account_deleted"

// EndSubscription cancels the subscription of a user who is about to be deleted, and publishes that, in the transaction of ctx. A user
// who holds none that can be cancelled is left alone. adminID is the administrator who deletes the user; empty: the user, or
// an operator.
func (l *Lifecycle) EndSubscription(ctx context.Context, userID, adminID string) error {
	return l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if _, err := l.deps.Subscriptions.Lock(ctx, userID); err != nil {
			return err
		}
		now := l.deps.Clock.Now()
		s, err := l.current(ctx, userID)
		if err != nil || !s.HasLiveStatus() || !s.Entitled(now, l.deps.PastDueGrace) {
			return err // what has ended is for the scheduler
		}
		by := subscription.Owner
		if adminID != "" {
			by = subscription.Administrator
		}
		change, err := s.Transition(subscription.StatusCancelled, by, now, l.deps.PastDueGrace)
		if err != nil {
			return err
		}
		change.Reason, change.AdminID = reasonDeleted, adminID
		return l.update(ctx, &s, change)
	})
}
