package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// reasonDeleted is the reason of a cancellation because the user is deleted.
const reasonDeleted = "account_deleted"

// EndSubscription cancels the subscription of a user who is about to be deleted, and publishes that, in the transaction of ctx. A user
// who holds none that can be cancelled is left alone. actorID is who deletes the user: the user, an administrator, or with "" an
// operator.
func (l *Lifecycle) EndSubscription(ctx context.Context, userID, actorID string) error {
	return l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if _, err := l.deps.Subscriptions.Lock(ctx, userID); err != nil {
			return err
		}
		now := l.deps.Clock.Now()
		s, err := l.current(ctx, userID)
		if err != nil || !s.HasLiveStatus() || !s.Entitled(now, l.deps.PastDueGrace) {
			return err // what has ended is for the scheduler
		}
		by, adminID := subscription.Owner, ""
		if actorID != userID {
			by, adminID = subscription.Administrator, actorID
		}
		change, err := s.Transition(subscription.StatusCancelled, by, now, l.deps.PastDueGrace)
		if err != nil {
			return err
		}
		change.Reason, change.AdminID, change.ActorID = reasonDeleted, adminID, actorID
		return l.update(ctx, &s, change)
	})
}
