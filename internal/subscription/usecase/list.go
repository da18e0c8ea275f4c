package usecase

import (
	"context"
	"slices"

	"github.com/smap-platform/identity/internal/subscription"
)

// List returns the page of those subscriptions that f selects, and the number of all of them. Who is no administrator
// sees their own.
func (l *Lifecycle) List(
	ctx context.Context, actor subscription.Actor, f subscription.Filter,
) ([]subscription.Subscription, int, error) {
	if !actor.Admin {
		if len(f.UserIDs) > 0 && !slices.Contains(f.UserIDs, actor.UserID) {
			return nil, 0, nil
		}
		f.UserIDs = []string{actor.UserID}
	}
	return l.deps.Subscriptions.List(ctx, f)
}

// Find returns a subscription, or [subscription.ErrNotFound] if it does not exist or belongs to another user and the actor
// is no administrator.
func (l *Lifecycle) Find(ctx context.Context, actor subscription.Actor, id string) (subscription.Subscription, error) {
	s, err := l.deps.Subscriptions.ByID(ctx, id)
	if err != nil {
		return subscription.Subscription{}, err
	}
	if s.UserID != actor.UserID && !actor.Admin {
		return subscription.Subscription{}, subscription.ErrNotFound
	}
	return s, nil
}
