package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
)

func TestOneTrial(t *testing.T) {
	const email = "an@example.com"
	again := func(t *testing.T, p *program, forget string) {
		t.Helper()
		events, untap := p.Tap("subscription.#")
		defer untap()
		p.verified(t, email, 1)
		require.Equal(t, string(event.SubscriptionCreated), (<-events).RoutingKey)
		var mine struct{ ID string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		_, err := p.db.Exec(t.Context(), "forgetting", forget)
		require.NoError(t, err)

		p.verified(t, email, 2)
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		status, code, _ := p.call(t, http.MethodGet, "/subscriptions/me", nil)
		require.Equal(t, []int{http.StatusNotFound, 130002}, []int{status, code})
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM subscriptions"))
		p.eventually(t, 0, "SELECT count(*) FROM outbox")
		require.Empty(t, events, "no trial, no event")
	}
	const deleted = "UPDATE users SET deleted_at = '2026-01-01 00:00:00'"
	t.Run("of a person who deletes their account and registers again", func(t *testing.T) {
		again(t, start(t, t.TempDir()), deleted)
	})
	t.Run("of a person whose data were erased", func(t *testing.T) {
		again(t, start(t, t.TempDir()), deleted+", username = id")
	})
	t.Run("of a person who had it before trials were recorded", func(t *testing.T) {
		p := start(t, t.TempDir())
		_, err := p.db.Exec(t.Context(), "as an earlier release", `CREATE TRIGGER unrecorded AFTER INSERT ON trial_digests
			WHEN (SELECT count(*) FROM users) = 1 BEGIN DELETE FROM trial_digests; END`)
		require.NoError(t, err)
		again(t, p, deleted)
	})
}

// A reminder reaches the queue of codes by its name, and must hold nothing up there.
func TestTrialEnding(t *testing.T) {
	t.Run("is mailed once, by the queue of batches", func(t *testing.T) {
		p := start(t, t.TempDir())
		now := p.clock.Now()
		publisher := outbox.NewPublisher(p.db, p.sealer, p.clock, p.relay.Wake)
		require.NoError(t, p.db.WithinTx(t.Context(), func(ctx context.Context) error {
			return publisher.Publish(ctx, event.Event{
				ID: event.NewID(), Key: event.EmailTrialEndingRequested, Time: now, Batch: "reminders", Data: event.TrialEndingMail{
					UserID: "019c1000-0000-7000-8000-000000000001", Recipient: "an@example.com", Locale: "vi", PlanCode: "free",
					TrialEnd: now.Add(72 * time.Hour), DaysLeft: 3,
				},
			})
		}))
		mails, err := p.Inbox().Wait(t.Context(), "an@example.com", 1)
		require.NoError(t, err)
		require.Equal(t, "Thời gian dùng thử SMAP của bạn còn 3 ngày", mails[0].Subject)
		p.eventually(t, 1, "SELECT count(*) FROM mail_deliveries WHERE state = 'accepted'")
		for _, queue := range []string{EmailQueue, InvitationQueue} {
			require.Eventually(t, func() bool {
				return strings.Contains(get(t, p.MonitorURL()+"/metrics"),
					`event_handler_duration_seconds_count{outcome="handled",queue="`+queue+`",routing_key="email.trial_ending.requested"} 1`)
			}, 20*time.Second, 10*time.Millisecond, queue)
		}
		require.Equal(t, 1, p.number(t, "SELECT max(attempts) FROM mail_deliveries"))
	})
	t.Run("takes no worker of the queue of codes", func(t *testing.T) {
		for _, r := range routes(handlers{}) {
			if r.queue == EmailQueue && r.key == event.EmailTrialEndingRequested {
				require.Empty(t, r.around)
				require.NoError(t, r.handle(t.Context(), event.Delivery{}), "without any sender")
			}
		}
	})
}
