package usecase

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/subscription"
)

// StartTrial starts a trial of the free plan for the user and publishes subscription.created. It joins the
// transaction of ctx if there is one. For a user whose last subscription has a live status, even a trial that has
// ended, or entitles, it does nothing and returns nil. Two concurrent calls start one trial.
//
// A person has one trial for ever: for an address that has had a trial, or a subscription of any kind, StartTrial does
// nothing either, whatever has become of the account.
func (l *Lifecycle) StartTrial(ctx context.Context, userID, email string) error {
	return l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if _, err := l.deps.Subscriptions.Lock(ctx, userID); err != nil {
			return err
		}
		// Read the time under the user's lock, so that a higher version is never older.
		now := l.deps.Clock.Now()
		current, err := l.current(ctx, userID)
		if err != nil || current.HasLiveStatus() || current.Entitled(now, l.deps.PastDueGrace) {
			return err
		}
		if first, err := l.firstTrial(ctx, email); err != nil || !first {
			return err
		}
		plan, err := l.freePlan(ctx)
		if err != nil {
			return err
		}
		s := subscription.NewTrial(uuid.Must(uuid.NewV7()).String(), userID, plan, now)
		change, err := s.Begin(subscription.Owner)
		if err != nil {
			return err
		}
		err = l.begin(ctx, &s, change)
		if errors.Is(err, subscription.ErrActiveExists) { // a row that a pod of the previous release stored
			return nil
		}
		return err
	})
}

// firstTrial records that the address has its trial now and reports whether it has had none before. Those who had a
// subscription before trials were recorded are known by their rows.
func (l *Lifecycle) firstTrial(ctx context.Context, email string) (bool, error) {
	first, err := l.deps.Trials.Record(ctx, l.deps.TrialKey.Digest(email))
	if err != nil || !first {
		return false, err
	}
	had, err := l.deps.Trials.HadSubscription(ctx, email)
	return !had, err
}

func (l *Lifecycle) freePlan(ctx context.Context) (subscription.Plan, error) {
	now := l.deps.Clock.Now()
	return l.deps.Plans.Ensure(ctx, subscription.Plan{
		ID:        uuid.Must(uuid.NewV7()).String(),
		Name:      "Free",
		Code:      subscription.FreePlanCode,
		MaxUsage:  subscription.FreePlanUsage,
		CreatedAt: now,
		UpdatedAt: now,
	})
}
