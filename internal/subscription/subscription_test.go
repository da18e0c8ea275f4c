package subscription_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

var now = time.Date(2026, 3, 29, 0, 30, 0, 123456000, time.UTC) // many clocks change on this day

const grace = 14 * subscription.Day

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
		require.True(t, s.Entitled(now.Add(336*time.Hour-time.Microsecond), grace))
		require.False(t, s.Entitled(now.Add(336*time.Hour), grace), "the end is exclusive")
	})
}

// Every combination of NULL times, each with a time of its own, so that the table says which one decides.
func TestEffectiveUntil(t *testing.T) {
	t.Parallel()
	const (
		none = iota // open-ended
		trialEnd
		end
		cancelled
		updated
		trialLength // after the start
		graceOver   // after it became past due
		graceOfOld  // after the last change
	)
	trialEndsAt, endsAt, cancelledAt, pastDueSince := at(24*time.Hour), at(720*time.Hour), at(2*time.Hour), at(3*time.Hour)
	base := subscription.Subscription{StartsAt: now.Add(-time.Hour), UpdatedAt: now.Add(4 * time.Hour)}
	until := map[int]*time.Time{
		trialEnd: trialEndsAt, end: endsAt, cancelled: cancelledAt, updated: &base.UpdatedAt,
		trialLength: at(subscription.TrialLength - time.Hour), graceOver: at(3*time.Hour + grace), graceOfOld: at(4*time.Hour + grace),
	}
	const hasTrial, hasEnd, hasCancel, hasSince = 1, 2, 4, 8
	rules := map[subscription.Status]func(has int) int{
		subscription.StatusActive: func(has int) int {
			if has&hasEnd != 0 {
				return end
			}
			return none
		},
		subscription.StatusTrialing: func(has int) int {
			switch {
			case has&hasTrial != 0:
				return trialEnd
			case has&hasEnd != 0:
				return end
			}
			return trialLength
		},
		subscription.StatusPastDue: func(has int) int {
			switch {
			case has&hasEnd != 0:
				return end
			case has&hasSince != 0:
				return graceOver
			}
			return graceOfOld
		},
	}
	ended := func(has int) int {
		switch {
		case has&hasEnd != 0:
			return end
		case has&hasTrial != 0:
			return trialEnd
		case has&hasCancel != 0:
			return cancelled
		}
		return updated
	}
	rules[subscription.StatusCancelled], rules[subscription.StatusExpired] = ended, ended
	for status, rule := range rules {
		for has := range 16 {
			s := base
			s.Status = status
			if has&hasTrial != 0 {
				s.TrialEndsAt = trialEndsAt
			}
			if has&hasEnd != 0 {
				s.EndsAt = endsAt
			}
			if has&hasCancel != 0 {
				s.CancelledAt = cancelledAt
			}
			if has&hasSince != 0 {
				s.PastDueSince = pastDueSince
			}
			want := until[rule(has)]
			require.Equal(t, want, s.EffectiveUntil(grace), "%s, combination %04b", status, has)

			holds := status != subscription.StatusExpired
			require.Equal(t, holds && (want == nil || now.Before(*want)), s.Entitled(now, grace), "%s, combination %04b", status, has)
			if want != nil {
				require.Equal(t, holds, s.Entitled(want.Add(-time.Microsecond), grace), "%s, combination %04b", status, has)
				require.False(t, s.Entitled(*want, grace), "the end is exclusive: %s, combination %04b", status, has)
			}
		}
	}
	t.Run("is the moment of the cancellation for what was paid and open-ended after a trial", func(t *testing.T) {
		t.Parallel()
		s := subscription.Subscription{Status: subscription.StatusCancelled, TrialEndsAt: at(-time.Hour), CancelledAt: at(0)}
		require.Equal(t, at(0), s.EffectiveUntil(grace))
	})
	t.Run("is not for an unknown status", func(t *testing.T) {
		t.Parallel()
		require.False(t, subscription.Subscription{Status: "paused", EndsAt: at(time.Hour)}.Entitled(now, grace))
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	s := subscription.NewTrial("sub", "user", subscription.Plan{ID: "plan", Code: "free"}, now)
	s.Version = 7
	require.Equal(t, subscription.State{
		UserID: "user", Version: 7, SubscriptionID: "sub", PlanCode: "free", Status: subscription.StatusTrialing,
		EffectiveUntil: at(subscription.TrialLength), UpdatedAt: now,
	}, s.State(grace))
}
