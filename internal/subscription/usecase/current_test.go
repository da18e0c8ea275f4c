package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

// held returns a subscription that ends after d.
func held(id string, status subscription.Status, d time.Duration) subscription.Subscription {
	ends := now.Add(d)
	return subscription.Subscription{
		ID: id, UserID: "user-1", PlanID: "plan-1", PlanCode: "pro", Status: status, StartsAt: now.AddDate(0, -1, 0),
		EndsAt: &ends, UpdatedAt: now.Add(-time.Hour), Version: 7,
	}
}

func TestCurrentOf(t *testing.T) {
	t.Parallel()
	for want, known := range map[error]bool{subscription.ErrNotFound: false, errDown: true} {
		f := newFixture(t)
		f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(known, nil)
		f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return(nil, errDown).MaxTimes(1)
		_, _, err := f.CurrentOf(context.Background(), "user-1")
		require.ErrorIs(t, err, want)
	}
	f := newFixture(t)
	f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(false, errDown)
	_, _, err := f.CurrentOf(context.Background(), "user-1")
	require.ErrorIs(t, err, errDown, "that is no answer")
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	older := func(s subscription.Subscription) subscription.Subscription {
		s.UpdatedAt = s.UpdatedAt.Add(-hour)
		return s
	}
	tests := []struct {
		name    string
		held    []subscription.Subscription
		current string // the id of the one that entitles
	}{
		{"none", nil, ""},
		{"trialing", []subscription.Subscription{held("a", subscription.StatusTrialing, 1)}, "a"},
		{"trialing at the end of the trial", []subscription.Subscription{held("a", subscription.StatusTrialing, 0)}, ""},
		{"active", []subscription.Subscription{held("a", subscription.StatusActive, hour)}, "a"},
		{"past due", []subscription.Subscription{held("a", subscription.StatusPastDue, hour)}, "a"},
		{"cancelled, until its end", []subscription.Subscription{held("a", subscription.StatusCancelled, hour)}, "a"},
		{"cancelled, at its end", []subscription.Subscription{held("a", subscription.StatusCancelled, 0)}, ""},
		{"expired", []subscription.Subscription{held("a", subscription.StatusExpired, hour)}, ""},
		{"of the previous release: the one that entitles", []subscription.Subscription{
			held("a", subscription.StatusTrialing, -hour), older(held("b", subscription.StatusCancelled, hour)),
			held("c", subscription.StatusExpired, hour),
		}, "b"},
		{"of the previous release: the live one of two that entitle", []subscription.Subscription{
			held("a", subscription.StatusCancelled, 2*hour), older(held("b", subscription.StatusActive, hour)),
		}, "b"},
		{"of the previous release: the latest of two that entitle", []subscription.Subscription{
			older(held("a", subscription.StatusCancelled, 2*hour)), held("b", subscription.StatusCancelled, hour),
		}, "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			ctx := context.Background()
			f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return(tt.held, nil).Times(2)
			f.plans.EXPECT().Held(gomock.Any(), "plan-1").Return(free, nil).MaxTimes(1)
			f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(true, nil)

			s, plan, err := f.Current(ctx, "user-1")
			e, eErr := f.Entitlement(ctx, "user-1")
			require.NoError(t, eErr)
			require.Equal(t, tt.current != "", e.Entitled)
			if tt.current == "" {
				require.ErrorIs(t, err, subscription.ErrNotFound)
				require.Zero(t, s)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.current, s.ID)
			require.Equal(t, free, plan)
			require.Equal(t, subscription.Entitlement{
				Entitled: true, PlanCode: "pro", Status: s.Status, Until: s.EndsAt, Version: 7,
			}, e)
		})
	}
	t.Run("says what was held last, and of whom nothing is known", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(true, nil).Times(2)
		ended := held("a", subscription.StatusExpired, -time.Hour)
		f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return([]subscription.Subscription{ended}, nil)
		e, err := f.Entitlement(context.Background(), "user-1")
		require.NoError(t, err)
		require.Equal(t, subscription.Entitlement{PlanCode: "pro", Status: "expired", Until: ended.EndsAt, Version: 7}, e)

		f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return(nil, nil)
		e, err = f.Entitlement(context.Background(), "user-1")
		require.NoError(t, err)
		require.Zero(t, e)

		f.users.EXPECT().Exists(gomock.Any(), "user-2").Return(false, nil)
		_, err = f.Entitlement(context.Background(), "user-2")
		require.ErrorIs(t, err, subscription.ErrNoUser)
	})
	t.Run("fails if a step fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return(nil, errDown)
		_, _, err := f.Current(context.Background(), "user-1")
		require.ErrorIs(t, err, errDown)
		f.repo.EXPECT().LatestOf(gomock.Any(), "user-1").Return([]subscription.Subscription{trial()}, nil)
		f.plans.EXPECT().Held(gomock.Any(), "plan-1").Return(subscription.Plan{}, errDown)
		_, _, err = f.Current(context.Background(), "user-1")
		require.ErrorIs(t, err, errDown)
		f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(false, errDown)
		_, err = f.Entitlement(context.Background(), "user-1")
		require.ErrorIs(t, err, errDown)
	})
}
