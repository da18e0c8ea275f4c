package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/subscription"
)

// Current returns the subscription that entitles the user, with its plan, or [subscription.ErrNotFound]; see
// [subscription.Subscription.Entitled].
func (l *Lifecycle) Current(ctx context.Context, userID string) (subscription.Subscription, subscription.Plan, error) {
	s, err := l.current(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, subscription.Plan{}, err
	}
	if !s.Entitled(l.deps.Clock.Now(), l.deps.PastDueGrace) {
		return subscription.Subscription{}, subscription.Plan{}, subscription.ErrNotFound
	}
	plan, err := l.deps.Plans.Held(ctx, s.PlanID)
	if err != nil {
		return subscription.Subscription{}, subscription.Plan{}, err
	}
	return s, plan, nil
}

// CurrentOf is Current for a service, which may ask for anybody: of a user who does not exist nothing is found.
func (l *Lifecycle) CurrentOf(ctx context.Context, userID string) (subscription.Subscription, subscription.Plan, error) {
	if err := l.requireUser(ctx, userID); err != nil {
		if errors.Is(err, subscription.ErrNoUser) {
			err = subscription.ErrNotFound
		}
		return subscription.Subscription{}, subscription.Plan{}, err
	}
	return l.Current(ctx, userID)
}

// Entitlement returns what the user holds: of a user without a subscription that entitles, what they held last. It
// returns [subscription.ErrNoUser] for a user who does not exist.
func (l *Lifecycle) Entitlement(ctx context.Context, userID string) (subscription.Entitlement, error) {
	if err := l.requireUser(ctx, userID); err != nil {
		return subscription.Entitlement{}, err
	}
	s, err := l.current(ctx, userID)
	if err != nil || s.ID == "" {
		return subscription.Entitlement{}, err
	}
	return s.Entitlement(l.deps.Clock.Now(), l.deps.PastDueGrace), nil
}

func (l *Lifecycle) requireUser(ctx context.Context, userID string) error {
	known, err := l.deps.Users.Exists(ctx, userID)
	if err == nil && !known {
		return subscription.ErrNoUser
	}
	return err
}
