package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// Current returns the user's active or trialing subscription (docs/compatibility.md, GET /subscriptions/me), or
// [subscription.ErrNotFound]. A trial that has ended does not count, even while its status is still trialing; neither
// does a subscription that is past due.
func (l *Lifecycle) Current(ctx context.Context, userID string) (subscription.Subscription, error) {
	s, err := l.deps.Subscriptions.LiveByUser(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	if s.Status == subscription.StatusPastDue || !s.Live(l.deps.Clock.Now()) {
		return subscription.Subscription{}, subscription.ErrNotFound
	}
	return s, nil
}
