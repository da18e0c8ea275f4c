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
			f.locks(),
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
		f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, errDown)
		err := f.tx.WithinTxRetry(context.Background(), func(ctx context.Context) error { return f.StartTrial(ctx, "user-1", email) })
		require.ErrorIs(t, err, errDown)
		require.Equal(t, []string{"rollback"}, f.tx.ends, "the caller's only")
	})
	t.Run("does nothing for a user who holds a subscription", func(t *testing.T) {
		t.Parallel()
		overdue, cancelled := trial(), trial()
		overdue.TrialEndsAt = &now
		_, err := cancelled.Transition(subscription.StatusCancelled, subscription.Owner, now, grace)
		require.NoError(t, err)
		for name, held := range map[string]subscription.Subscription{
			"a live one": trial(), "one whose end has passed": overdue, "a cancelled one until its end": cancelled,
		} {
			f := newFixture(t)
			f.locks(held) // no other call: the version stays
			require.NoError(t, f.StartTrial(context.Background(), "user-1", email), name)
			f.requireNoEvent(t, "commit")
		}
	})
	t.Run("does nothing if a pod of the previous release was first", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.locks()
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
				f.locks()
				answers(f)
				require.NoError(t, f.StartTrial(context.Background(), "user-1", email))
				f.requireNoEvent(t, "commit")
			})
		}
	})
	t.Run("fails and rolls back if a step fails", func(t *testing.T) {
		t.Parallel()
		steps := []string{"locking", "reading", "recording", "looking", "the plan", "the version", "storing", "publishing"}
		for failing, step := range steps {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				err := func(i int) error {
					if i == failing {
						return errDown
					}
					return nil
				}
				f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, err(0))
				f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(nil, err(1)).MaxTimes(1)
				f.trials.EXPECT().Record(inATx(), gomock.Any()).Return(true, err(2)).MaxTimes(1)
				f.trials.EXPECT().HadSubscription(inATx(), email).Return(false, err(3)).MaxTimes(1)
				f.plans.EXPECT().Ensure(inATx(), gomock.Any()).Return(free, err(4)).MaxTimes(1)
				f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(1), err(5)).MaxTimes(1)
				f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(err(6)).MaxTimes(1)
				f.events.Err = err(7)
				require.ErrorIs(t, f.StartTrial(context.Background(), "user-1", email), errDown)
				f.requireNoEvent(t, "rollback")
			})
		}
	})
}
