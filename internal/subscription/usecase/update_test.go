package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
)

// reads expects a use case to read s, to lock its user, and to read it again beside the current one.
func (f fixture) reads(s subscription.Subscription, current ...subscription.Subscription) {
	gomock.InOrder(
		f.repo.EXPECT().ByID(inATx(), s.ID).Return(s, nil),
		f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil),
		f.repo.EXPECT().ByID(inATx(), s.ID).Return(s, nil),
		f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(append(current, s)[:1], nil),
	)
}

func given(at *time.Time) subscription.OptionalTime {
	return subscription.OptionalTime{Given: true, Time: at}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	t.Run("changes and publishes", func(t *testing.T) {
		t.Parallel()
		later := now.AddDate(0, 2, 0)
		tests := []struct {
			name      string
			from      subscription.Subscription
			amendment subscription.Amendment
			reason    string // of the event
			until     *time.Time
		}{
			{"another plan", held("a", "active", time.Hour), subscription.Amendment{PlanID: "plan-2"}, "renewed", ptr(now.Add(time.Hour))},
			{"another end", held("a", "active", time.Hour), subscription.Amendment{EndsAt: given(&later)}, "renewed", &later},
			{"no end", held("a", "active", time.Hour), subscription.Amendment{EndsAt: given(nil)}, "renewed", nil},
			{"a longer trial", trialOf("a"), subscription.Amendment{TrialEndsAt: given(&later)}, "renewed", &later},
			{"a trial becomes paid", trialOf("a"), subscription.Amendment{Status: "active", EndsAt: given(&later)}, "upgraded", &later},
			{"a payment fails", held("a", "active", time.Hour), subscription.Amendment{Status: "past_due", EndsAt: given(nil)}, "payment_failed", ptr(now.Add(grace))},
			{"a cancelled one is taken up again", held("a", "cancelled", time.Hour), subscription.Amendment{Status: "active"}, "reactivated", ptr(now.Add(time.Hour))},
			{"a cancellation", held("a", "active", time.Hour), subscription.Amendment{Status: "cancelled"}, "admin_action", ptr(now.Add(time.Hour))},
			{"an end at once", held("a", "active", time.Hour), subscription.Amendment{Status: "expired"}, "subscription_ended", &now},
			{"an end at once of a trial", trialOf("a"), subscription.Amendment{Status: "expired"}, "admin_action", &now},
			{
				"all fields as they were read, and expired", held("a", "active", time.Hour), subscription.Amendment{
					UserID: "user-1", PlanID: "plan-1", Status: "expired", EndsAt: given(ptr(now.Add(time.Hour))),
				}, "subscription_ended", &now,
			},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.reads(tt.from)
				f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, nil).MaxTimes(1)
				f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(8), nil)
				var stored subscription.Subscription
				f.repo.EXPECT().Update(inATx(), gomock.Any()).DoAndReturn(func(_ context.Context, s subscription.Subscription) error {
					stored = s
					return nil
				})
				got, err := f.Update(context.Background(), admin, "a", tt.amendment)
				require.NoError(t, err)
				require.Equal(t, stored, got)
				require.EqualValues(t, 8, got.Version)
				require.Equal(t, tt.until, got.EffectiveUntil(grace))
				require.Len(t, f.events.Events(), 1)
				switch d := f.events.Events()[0].Data.(type) {
				case event.SubscriptionCancelledData:
					require.Equal(t, tt.reason, d.CancellationReason)
					require.Equal(t, "admin-1", d.AdminUserID)
					require.Equal(t, tt.until, d.EffectiveUntil)
				case event.SubscriptionStatusChangedData:
					require.Equal(t, tt.reason, d.TransitionReason)
					require.Equal(t, got.PlanCode, d.PlanCode)
					require.Equal(t, tt.until, d.EffectiveUntil)
				}
			})
		}
	})
	t.Run("publishes nothing for what is already so", func(t *testing.T) {
		t.Parallel()
		for _, a := range []subscription.Amendment{
			{}, {Status: "active"}, {PlanID: "plan-1", UserID: "user-1"}, {EndsAt: given(ptr(now.Add(time.Hour))), TrialEndsAt: given(nil)},
		} {
			f := newFixture(t)
			s := held("a", "active", time.Hour)
			f.reads(s)
			got, err := f.Update(context.Background(), admin, "a", a)
			require.NoError(t, err)
			require.Equal(t, s, got)
			f.requireNoEvent(t, "commit")
		}
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		tests := []struct {
			name      string
			from      subscription.Subscription
			current   []subscription.Subscription
			amendment subscription.Amendment
			err       error
			field     string
		}{
			{"what expired", held("a", "expired", time.Hour), nil, subscription.Amendment{Status: "active"}, subscription.ErrStatus, ""},
			{"a trial of what was paid", held("a", "active", time.Hour), nil, subscription.Amendment{Status: "trialing"}, subscription.ErrStatus, ""},
			{"a cancellation of what has ended", held("a", "active", 0), nil, subscription.Amendment{Status: "cancelled"}, subscription.ErrCannotCancel, ""},
			{
				"one that another has followed", held("a", "cancelled", -time.Hour),
				[]subscription.Subscription{held("b", "active", time.Hour)}, subscription.Amendment{Status: "expired"}, subscription.ErrStatus, "",
			},
			{"another user", held("a", "active", time.Hour), nil, subscription.Amendment{UserID: "user-2"}, subscription.ErrBody, "user_id"},
			{"an end in the past", held("a", "active", time.Hour), nil, subscription.Amendment{EndsAt: given(&now)}, subscription.ErrTimes, "ends_at"},
			{
				"an end before the start", held("a", "active", time.Hour), nil,
				subscription.Amendment{EndsAt: given(ptr(now.AddDate(0, -2, 0)))}, subscription.ErrTimes, "ends_at",
			},
			{
				"an end of its own for what expires", held("a", "active", time.Hour), nil,
				subscription.Amendment{Status: "expired", EndsAt: given(ptr(now.Add(time.Minute)))}, subscription.ErrTimes, "ends_at",
			},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.reads(tt.from, tt.current...)
				_, err := f.Update(context.Background(), admin, "a", tt.amendment)
				require.ErrorIs(t, err, tt.err)
				if tt.field != "" {
					require.Contains(t, apperror.From(err).Fields, tt.field)
				}
				f.requireNoEvent(t, "rollback")
			})
		}
		t.Run("who is no administrator, and what does not exist", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, err := f.Update(context.Background(), owner, "a", subscription.Amendment{})
			require.ErrorIs(t, err, subscription.ErrForbidden)
			f.repo.EXPECT().ByID(inATx(), "a").Return(subscription.Subscription{}, subscription.ErrNotFound)
			_, err = f.Update(context.Background(), admin, "a", subscription.Amendment{})
			require.ErrorIs(t, err, subscription.ErrNotFound)
			f.reads(held("a", "active", time.Hour))
			f.plans.EXPECT().UseByID(inATx(), "plan-3").Return(subscription.Plan{}, subscription.ErrPlanNotFound)
			_, err = f.Update(context.Background(), admin, "a", subscription.Amendment{PlanID: "plan-3"})
			require.ErrorIs(t, err, subscription.ErrPlanNotFound)
			require.Empty(t, f.events.Events())
		})
	})
}

func trialOf(id string) subscription.Subscription {
	s := trial()
	s.ID = id
	return s
}

func TestDelete(t *testing.T) {
	t.Parallel()
	t.Run("ends the current one", func(t *testing.T) {
		t.Parallel()
		for _, status := range []subscription.Status{"active", "past_due", "cancelled"} {
			f := newFixture(t)
			f.reads(held("a", status, time.Hour))
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(8), nil)
			gomock.InOrder(
				f.repo.EXPECT().Update(inATx(), gomock.Any()).Return(nil),
				f.repo.EXPECT().Delete(inATx(), "a", now).Return(nil),
			)
			require.NoError(t, f.Delete(context.Background(), admin, "a"))
			require.Len(t, f.events.Events(), 1)
			d := f.events.Events()[0].Data.(event.SubscriptionStatusChangedData)
			require.Equal(t, []string{string(status), "expired"}, []string{d.PreviousStatus, d.NewStatus})
			require.Equal(t, now, *d.EffectiveUntil)
		}
	})
	t.Run("only hides what has ended, and what another has followed", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct{ gone, current subscription.Subscription }{
			{held("a", "expired", -time.Hour), held("a", "expired", -time.Hour)},
			{held("a", "cancelled", -time.Hour), held("b", "active", time.Hour)},
		} {
			f := newFixture(t)
			f.reads(tt.gone, tt.current)
			f.repo.EXPECT().Delete(inATx(), "a", now).Return(nil)
			require.NoError(t, f.Delete(context.Background(), admin, "a"))
			f.requireNoEvent(t, "commit")
		}
	})
	t.Run("refuses who is no administrator, and what does not exist", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		require.ErrorIs(t, f.Delete(context.Background(), owner, "a"), subscription.ErrForbidden)
		f.repo.EXPECT().ByID(inATx(), "a").Return(subscription.Subscription{}, subscription.ErrNotFound)
		require.ErrorIs(t, f.Delete(context.Background(), admin, "a"), subscription.ErrNotFound)
		f.requireNoEvent(t, "rollback")
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	all := []subscription.Subscription{trial()}
	f.repo.EXPECT().List(gomock.Any(), subscription.Filter{UserIDs: []string{"user-2"}, Limit: 1}).Return(all, 3, nil)
	got, total, err := f.List(ctx, admin, subscription.Filter{UserIDs: []string{"user-2"}, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, all, got)
	require.Equal(t, 3, total)

	f.repo.EXPECT().List(gomock.Any(), subscription.Filter{UserIDs: []string{"user-1"}, PlanIDs: []string{"p"}}).Return(all, 1, nil).Times(2)
	for _, users := range [][]string{nil, {"user-2", "user-1"}} {
		got, _, err = f.List(ctx, owner, subscription.Filter{UserIDs: users, PlanIDs: []string{"p"}})
		require.NoError(t, err)
		require.Equal(t, all, got)
	}
	got, total, err = f.List(ctx, owner, subscription.Filter{UserIDs: []string{"user-2"}})
	require.NoError(t, err)
	require.Empty(t, got)
	require.Zero(t, total)

	f.repo.EXPECT().ByID(gomock.Any(), "sub-1").Return(trial(), nil).Times(3)
	for actor, want := range map[subscription.Actor]error{owner: nil, admin: nil, {UserID: "user-2"}: subscription.ErrNotFound} {
		_, err := f.Find(ctx, actor, "sub-1")
		require.ErrorIs(t, err, want)
	}
	f.repo.EXPECT().ByID(gomock.Any(), "sub-2").Return(subscription.Subscription{}, subscription.ErrNotFound)
	_, err = f.Find(ctx, admin, "sub-2")
	require.ErrorIs(t, err, subscription.ErrNotFound)
}
