package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/subscription"
)

// Delete hides a subscription. The current one of its user expires first, which is published: from then on it entitles
// to nothing. Delete returns [subscription.ErrForbidden] if the actor is no administrator, and [subscription.ErrNotFound].
func (l *Lifecycle) Delete(ctx context.Context, actor subscription.Actor, id string) error {
	if !actor.Admin {
		return subscription.ErrForbidden
	}
	return l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		s, err := l.deps.Subscriptions.ByID(ctx, id)
		if err != nil {
			return err
		}
		s, isCurrent, err := l.lockCurrent(ctx, s)
		if err != nil {
			return err
		}
		now := l.deps.Clock.Now()
		if isCurrent && s.Status != subscription.StatusExpired {
			change, err := s.Transition(subscription.StatusExpired, subscription.Administrator, now, l.deps.PastDueGrace)
			if err != nil {
				return err
			}
			if err := l.update(ctx, &s, byActor(change, s, actor, "")); err != nil {
				return err
			}
		}
		if err := l.deps.Subscriptions.Delete(ctx, id, now); err != nil {
			return err
		}
		return l.audit(ctx, audit.SubscriptionDeleted, s, actor.UserID, "")
	})
}
