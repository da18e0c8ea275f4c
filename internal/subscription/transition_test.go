package subscription_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

const (
	trialing  = subscription.StatusTrialing
	active    = subscription.StatusActive
	pastDue   = subscription.StatusPastDue
	cancelled = subscription.StatusCancelled
	expired   = subscription.StatusExpired
)

var (
	statuses = []subscription.Status{trialing, active, pastDue, cancelled, expired}
	parties  = []subscription.Party{
		subscription.Owner, subscription.Administrator, subscription.Billing, subscription.Scheduler,
	}
)

// with returns a subscription with this status that ends at end.
func with(status subscription.Status, end time.Time) subscription.Subscription {
	s := subscription.Subscription{ID: "sub", Status: status, StartsAt: now.Add(-24 * time.Hour), UpdatedAt: now.Add(-time.Hour)}
	if status == trialing {
		s.TrialEndsAt = &end
	} else {
		s.EndsAt = &end
	}
	return s
}

// The cells are the parties that may, by their first letters, while the subscription is effective / when it has ended.
func TestTransition(t *testing.T) {
	t.Parallel()
	allowed := map[subscription.Status]map[subscription.Status][2]string{
		trialing: {trialing: {"a", "a"}, active: {"ab", "ab"}, pastDue: {"ab", "ab"}, cancelled: {"oab", ""}, expired: {"a", "as"}},
		active:   {active: {"ab", "ab"}, pastDue: {"ab", "ab"}, cancelled: {"oab", ""}, expired: {"a", "as"}},
		pastDue:  {active: {"ab", "ab"}, pastDue: {"ab", "ab"}, cancelled: {"oab", ""}, expired: {"a", "as"}},

		cancelled: {active: {"ab", ""}, cancelled: {"b", ""}, expired: {"a", "a"}},
		expired:   {},
	}
	for _, from := range statuses {
		for _, to := range statuses {
			for i, end := range []time.Time{now.Add(time.Hour), now} {
				for _, by := range parties {
					name := fmt.Sprintf("%s to %s by %s, %d", from, to, by, i)
					s := with(from, end)
					before := s
					change, err := s.Transition(to, by, now, grace)
					if !containsParty(allowed[from][to][i], by) {
						refusal := subscription.ErrStatus
						if to == cancelled {
							refusal = subscription.ErrCannotCancel
						}
						require.ErrorIs(t, err, refusal, name)
						require.Equal(t, before, s, "%s: a refusal changes nothing", name)
						continue
					}
					require.NoError(t, err, name)
					require.Equal(t, [2]subscription.Status{from, to}, [2]subscription.Status{change.From, change.To}, name)
					require.NotZero(t, change.Notice, name)
					require.Equal(t, to, s.Status, name)
					require.Equal(t, now, s.UpdatedAt, name)
					require.Equal(t, to == cancelled && from != cancelled, s.CancelledAt != nil, name)
					if to == expired {
						require.False(t, s.EffectiveUntil(grace).After(now), name)
					}
				}
			}
		}
	}
}

func containsParty(letters string, p subscription.Party) bool {
	for _, l := range letters {
		if string(l) == string(p)[:1] {
			return true
		}
	}
	return false
}

func TestTransitionTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		sub  subscription.Subscription
		to   subscription.Status
		by   subscription.Party
		want *time.Time // EffectiveUntil afterwards
	}{
		{"cancelling keeps the end of a trial", with(trialing, now.Add(time.Hour)), cancelled, subscription.Owner, at(time.Hour)},
		{
			"cancelling keeps the end of a trial without one", subscription.Subscription{Status: trialing, StartsAt: now},
			cancelled, subscription.Owner, at(subscription.TrialLength),
		},
		{
			"cancelling keeps the end of a trial, whatever end it has beside it",
			subscription.Subscription{Status: trialing, TrialEndsAt: at(time.Hour), EndsAt: at(time.Minute)},
			cancelled, subscription.Owner, at(time.Hour),
		},
		{
			"an administrator ends a trial at once, whatever end it has beside it",
			subscription.Subscription{Status: trialing, TrialEndsAt: at(time.Hour), EndsAt: at(2 * time.Hour)},
			expired, subscription.Administrator, at(0),
		},
		{"cancelling keeps what was paid", with(active, now.Add(time.Hour)), cancelled, subscription.Owner, at(time.Hour)},
		{"cancelling ends what is open-ended", subscription.Subscription{Status: active}, cancelled, subscription.Owner, at(0)},
		{
			"cancelling keeps the grace", subscription.Subscription{Status: pastDue, PastDueSince: at(-time.Hour)},
			cancelled, subscription.Owner, at(grace - time.Hour),
		},
		{"a failed payment starts the grace", subscription.Subscription{Status: active}, pastDue, subscription.Billing, at(grace)},
		{
			"a second failed payment does not start it again", subscription.Subscription{Status: pastDue, PastDueSince: at(-time.Hour)},
			pastDue, subscription.Billing, at(grace - time.Hour),
		},
		{"an administrator ends at once", with(active, now.Add(time.Hour)), expired, subscription.Administrator, at(0)},
		{"time keeps the end", with(active, now.Add(-time.Hour)), expired, subscription.Scheduler, at(-time.Hour)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.sub
			_, err := s.Transition(tt.to, tt.by, now, grace)
			require.NoError(t, err)
			require.Equal(t, tt.want, s.EffectiveUntil(grace))
		})
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	allowed := map[subscription.Status]string{trialing: "oa", active: "ab", pastDue: "ab"}
	for _, status := range statuses {
		for _, by := range parties {
			change, err := with(status, now).Begin(by)
			if !containsParty(allowed[status], by) {
				require.ErrorIs(t, err, subscription.ErrStatus, "%s by %s", status, by)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, subscription.Change{To: status, Notice: subscription.NoticeCreated}, change)
		}
	}
}

// The page has the table of the code, and nothing else.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/subscriptions.md")
	require.NoError(t, err)
	var rows []string
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "`subscription.") && strings.HasPrefix(line, "|") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	slices.Sort(rows)
	require.Equal(t, subscription.TransitionTable(), rows, "docs/subscriptions.md")
}
