package usecase

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// StartTrial gives the user a trial of the free plan, which is created when it is first needed, and says
// subscription.created; all in the transaction of ctx when there is one. A user who holds a subscription with a live
// status, be it a trial that has run out unmarked, is left as he is: nil, no event. Two calls at once make one trial;
// the version the later one drew stays unused, and nobody counts on versions without gaps.
func (l *Lifecycle) StartTrial(ctx context.Context, userID string) error {
	return l.tx.WithinTx(ctx, func(ctx context.Context) error {
		switch _, err := l.subscriptions.LiveByUser(ctx, userID); {
		case err == nil:
			return nil
		case !errors.Is(err, subscription.ErrNotFound):
			return err
		}
		plan, err := l.freePlan(ctx)
		if err != nil {
			return err
		}
		version, err := l.subscriptions.NextVersion(ctx, userID)
		if err != nil {
			return err
		}
		// The time is read under the user's lock, so that a higher version is never older.
		s := subscription.NewTrial(uuid.Must(uuid.NewV7()).String(), userID, plan, l.clock.Now())
		s.Version = version
		if err := l.subscriptions.Create(ctx, s); err != nil {
			if errors.Is(err, subscription.ErrActiveExists) {
				return nil
			}
			return err
		}
		return l.publisher.Publish(ctx, created(s))
	})
}

func (l *Lifecycle) freePlan(ctx context.Context) (subscription.Plan, error) {
	now := l.clock.Now()
	return l.plans.Ensure(ctx, subscription.Plan{
		ID: uuid.Must(uuid.NewV7()).String(), Name: "Free", Code: subscription.FreePlanCode, CreatedAt: now, UpdatedAt: now,
	})
}

func created(s subscription.Subscription) event.Event {
	return event.Event{
		ID: event.NewID(), Key: event.SubscriptionCreated, Time: s.UpdatedAt,
		Data: event.SubscriptionCreatedData{
			Version: s.Version, SubscriptionID: s.ID, UserID: s.UserID, PlanCode: s.PlanCode, Status: string(s.Status),
			EffectiveUntil: s.EffectiveUntil(), TrialStart: &s.StartsAt, TrialEnd: s.TrialEndsAt, CreatedAt: s.CreatedAt,
		},
	}
}
