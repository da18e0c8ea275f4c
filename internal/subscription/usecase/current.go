package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// Current returns the subscription that entitles the user, or [subscription.ErrNotFound]; see
// [subscription.Subscription.Entitled].
func (l *Lifecycle) Current(ctx context.Context, userID string) (subscription.Subscription, error) {
	s, err := l.deps.Subscriptions.LiveByUser(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	if !s.Entitled(l.deps.Clock.Now(), l.deps.PastDueGrace) {
		return subscription.Subscription{}, subscription.ErrNotFound
	}
	return s, nil
}
