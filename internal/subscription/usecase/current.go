package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// Current answers the user's active or trialing subscription (docs/compatibility.md, GET /subscriptions/me), ErrNotFound when
// there is none. A trial that has run out is none, even while no job has marked it expired; neither is one that is
// past due.
func (l *Lifecycle) Current(ctx context.Context, userID string) (subscription.Subscription, error) {
	s, err := l.subscriptions.LiveByUser(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	if s.Status == subscription.StatusPastDue || !s.Live(l.clock.Now()) {
		return subscription.Subscription{}, subscription.ErrNotFound
	}
	return s, nil
}
