package subscription_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

var now = time.Date(2026, 3, 29, 0, 30, 0, 123456000, time.UTC) // many clocks change on this day

func at(d time.Duration) *time.Time {
	t := now.Add(d)
	return &t
}

func TestNewTrial(t *testing.T) {
	t.Parallel()
	t.Run("lasts exactly fourteen days", func(t *testing.T) {
		t.Parallel()
		s := subscription.NewTrial("sub", "user", subscription.Plan{ID: "plan", Code: "free"}, now)
		require.Equal(t, subscription.Subscription{
			ID: "sub", UserID: "user", PlanID: "plan", PlanCode: "free", Status: subscription.StatusTrialing,
			TrialEndsAt: at(336 * time.Hour), StartsAt: now, CreatedAt: now, UpdatedAt: now,
		}, s)
		require.True(t, s.Live(now.Add(336*time.Hour-time.Microsecond)))
		require.False(t, s.Live(now.Add(336*time.Hour)), "the end is exclusive")
	})
}

func TestLive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		sub  subscription.Subscription
		live bool
	}{
		{"active", subscription.Subscription{Status: subscription.StatusActive}, true},
		{
			"active after a trial",
			subscription.Subscription{Status: subscription.StatusActive, TrialEndsAt: at(-time.Hour)}, true,
		},
		{"past due", subscription.Subscription{Status: subscription.StatusPastDue}, true},
		{"trialing", subscription.Subscription{Status: subscription.StatusTrialing, TrialEndsAt: at(1)}, true},
		{"trialing without an end", subscription.Subscription{Status: subscription.StatusTrialing}, true},
		{
			"trialing, ended now",
			subscription.Subscription{Status: subscription.StatusTrialing, TrialEndsAt: at(0)}, false,
		},
		{
			"cancelled",
			subscription.Subscription{Status: subscription.StatusCancelled, TrialEndsAt: at(time.Hour)}, false,
		},
		{"expired", subscription.Subscription{Status: subscription.StatusExpired}, false},
		{"unknown", subscription.Subscription{Status: "paused"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.live, tt.sub.Live(now))
		})
	}
}

func TestEffectiveUntil(t *testing.T) {
	t.Parallel()
	trial, paid := at(24*time.Hour), at(720*time.Hour)
	tests := []struct {
		name string
		sub  subscription.Subscription
		want *time.Time
	}{
		{"trial", subscription.Subscription{Status: subscription.StatusTrialing, TrialEndsAt: trial}, trial},
		{
			"ended trial",
			subscription.Subscription{Status: subscription.StatusExpired, TrialEndsAt: at(-time.Hour)}, at(-time.Hour),
		},
		{
			"trial that became paid",
			subscription.Subscription{Status: subscription.StatusActive, TrialEndsAt: trial, EndsAt: paid}, paid,
		},
		{
			"trial that became paid without an end",
			subscription.Subscription{Status: subscription.StatusActive, TrialEndsAt: at(-time.Hour)}, nil,
		},
		{
			"past due without an end",
			subscription.Subscription{Status: subscription.StatusPastDue, TrialEndsAt: at(-time.Hour)}, nil,
		},
		{"paid period", subscription.Subscription{Status: subscription.StatusActive, EndsAt: paid}, paid},
		{"open-ended", subscription.Subscription{Status: subscription.StatusActive}, nil},
		{
			"cancelled in the trial",
			subscription.Subscription{Status: subscription.StatusCancelled, TrialEndsAt: trial, CancelledAt: at(0)}, trial,
		},
		{
			"cancelled in the paid period",
			subscription.Subscription{Status: subscription.StatusCancelled, TrialEndsAt: trial, EndsAt: paid, CancelledAt: at(0)}, paid,
		},
		{
			"cancelled, open-ended",
			subscription.Subscription{Status: subscription.StatusCancelled, CancelledAt: at(0)}, at(0),
		},
		{
			"cancelled, open-ended after a trial",
			subscription.Subscription{Status: subscription.StatusCancelled, TrialEndsAt: at(-time.Hour), CancelledAt: at(0)}, at(0),
		},
		{
			"cancelled by the previous release, without times",
			subscription.Subscription{Status: subscription.StatusCancelled}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, tt.sub.EffectiveUntil())
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		sub   subscription.Subscription
		fails bool
	}{
		{"active", subscription.Subscription{Status: subscription.StatusActive}, false},
		{"past due", subscription.Subscription{Status: subscription.StatusPastDue}, false},
		{
			"trialing",
			subscription.Subscription{Status: subscription.StatusTrialing, TrialEndsAt: at(time.Hour)}, false,
		},
		{
			"trialing after the end of the trial",
			subscription.Subscription{Status: subscription.StatusTrialing, TrialEndsAt: at(-time.Hour)}, true,
		},
		{
			"cancelled",
			subscription.Subscription{Status: subscription.StatusCancelled, CancelledAt: at(-time.Hour)}, true,
		},
		{"expired", subscription.Subscription{Status: subscription.StatusExpired}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.sub
			err := s.Cancel(now)
			if tt.fails {
				require.ErrorIs(t, err, subscription.ErrCannotCancel)
				require.Equal(t, tt.sub, s, "a refused cancel changes nothing")
				return
			}
			require.NoError(t, err)
			require.Equal(t, subscription.StatusCancelled, s.Status)
			require.Equal(t, now, *s.CancelledAt)
			require.Equal(t, now, s.UpdatedAt)
			require.Equal(t, tt.sub.TrialEndsAt, s.TrialEndsAt, "cancelling does not shorten the trial")
			require.ErrorIs(t, s.Cancel(now), subscription.ErrCannotCancel)
		})
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	s := subscription.NewTrial("sub", "user", subscription.Plan{ID: "plan", Code: "free"}, now)
	s.Version = 7
	require.Equal(t, subscription.State{
		UserID: "user", Version: 7, SubscriptionID: "sub", PlanCode: "free", Status: subscription.StatusTrialing,
		EffectiveUntil: at(subscription.TrialLength), UpdatedAt: now,
	}, s.State())
}
