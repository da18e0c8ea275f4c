package usecase_test

import (
	"context"
	"slices"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

func TestStartTrial(t *testing.T) {
	t.Parallel()
	t.Run("stores the trial and publishes", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var stored subscription.Subscription
		gomock.InOrder(slices.Concat([]*gomock.Call{
			f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(subscription.Subscription{}, subscription.ErrNotFound),
		}, f.neverTried(), []*gomock.Call{
			f.plans.EXPECT().Ensure(inATx(), gomock.Any()).DoAndReturn(
				func(_ context.Context, p subscription.Plan) (subscription.Plan, error) {
					require.NoError(t, uuid.Validate(p.ID))
					require.Equal(t, subscription.Plan{
						ID: p.ID, Name: "Free", Code: "free", MaxUsage: 100, CreatedAt: now, UpdatedAt: now,
					}, p)
					return free, nil
				}),
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(4), nil),
			f.repo.EXPECT().Create(inATx(), gomock.Any()).DoAndReturn(
				func(_ context.Context, s subscription.Subscription) error {
					stored = s
					return nil
				}),
		})...)
		require.NoError(t, f.StartTrial(context.Background(), "user-1", email))
		require.Equal(t, []string{"commit"}, f.tx.ends)

		end := now.Add(subscription.TrialLength)
		require.NoError(t, uuid.Validate(stored.ID))
		require.Equal(t, subscription.Subscription{
			ID: stored.ID, UserID: "user-1", PlanID: "plan-1", PlanCode: "free", Status: subscription.StatusTrialing,
			TrialEndsAt: &end, StartsAt: now, Version: 4, CreatedAt: now, UpdatedAt: now,
		}, stored)
		require.Len(t, f.events.Events(), 1)
		e := f.events.Events()[0]
		require.NotEmpty(t, e.ID)
		start := now
		require.Equal(t, event.Event{ID: e.ID, Key: event.SubscriptionCreated, Time: now, Data: event.SubscriptionCreatedData{
			Version: 4, SubscriptionID: stored.ID, UserID: "user-1", PlanCode: "free", Status: "trialing",
			EffectiveUntil: &end, TrialStart: &start, TrialEnd: &end, CreatedAt: now,
		}}, e)
	})
	t.Run("joins the caller's transaction", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(subscription.Subscription{}, errDown)
		err := f.tx.WithinTxRetry(context.Background(), func(ctx context.Context) error { return f.StartTrial(ctx, "user-1", email) })
		require.ErrorIs(t, err, errDown)
		require.Equal(t, []string{"rollback"}, f.tx.ends, "the caller's only")
	})
	t.Run("does nothing for a user with a live subscription", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(trial(), nil) // no other call: the version stays
		require.NoError(t, f.StartTrial(context.Background(), "user-1", email))
		f.requireNoEvent(t, "commit")
	})
	t.Run("does nothing if a concurrent call was first", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(subscription.Subscription{}, subscription.ErrNotFound)
		f.neverTried()
		f.plans.EXPECT().Ensure(inATx(), gomock.Any()).Return(free, nil)
		f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), nil)
		f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(subscription.ErrActiveExists)
		require.NoError(t, f.StartTrial(context.Background(), "user-1", email))
		f.requireNoEvent(t, "commit")
	})
	t.Run("starts no second trial for an address", func(t *testing.T) {
		t.Parallel()
		for name, answers := range map[string]func(f fixture){
			"that has had one": func(f fixture) {
				f.trials.EXPECT().Record(inATx(), trialKey.Digest(email)).Return(false, nil)
			},
			"that had a subscription before trials were recorded": func(f fixture) {
				f.trials.EXPECT().Record(inATx(), trialKey.Digest(email)).Return(true, nil)
				f.trials.EXPECT().HadSubscription(inATx(), email).Return(true, nil)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(subscription.Subscription{}, subscription.ErrNotFound)
				answers(f)
				require.NoError(t, f.StartTrial(context.Background(), "user-1", email))
				f.requireNoEvent(t, "commit")
			})
		}
	})
	t.Run("fails and rolls back if a step fails", func(t *testing.T) {
		t.Parallel()
		for failing, step := range []string{"reading", "recording", "looking", "the plan", "the version", "storing", "publishing"} {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				err := func(i int, otherwise error) error {
					if i == failing {
						return errDown
					}
					return otherwise
				}
				f.repo.EXPECT().LiveByUser(inATx(), "user-1").Return(subscription.Subscription{}, err(0, subscription.ErrNotFound))
				f.trials.EXPECT().Record(inATx(), gomock.Any()).Return(true, err(1, nil)).MaxTimes(1)
				f.trials.EXPECT().HadSubscription(inATx(), email).Return(false, err(2, nil)).MaxTimes(1)
				f.plans.EXPECT().Ensure(inATx(), gomock.Any()).Return(free, err(3, nil)).MaxTimes(1)
				f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(1), err(4, nil)).MaxTimes(1)
				f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(err(5, nil)).MaxTimes(1)
				f.events.Err = err(6, nil)
				require.ErrorIs(t, f.StartTrial(context.Background(), "user-1", email), errDown)
				f.requireNoEvent(t, "rollback")
			})
		}
	})
}
