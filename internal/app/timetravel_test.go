package app

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
)

// advance lets days pass and returns the moments at which something was due.
func (p *program) advance(t *testing.T, days int) []time.Time {
	t.Helper()
	var j journey
	require.NoError(t, json.Unmarshal(
		p.ok(t, http.StatusOK, http.MethodPost, "/dev/clock/advance", fields{"days": days}), &j))
	require.WithinDuration(t, p.clock.Now(), j.Now, time.Minute)
	return j.Moments
}

// verified registers a person, who proves their address by the newest of so many mails and is logged in, and returns their
// id.
func (p *program) verified(t *testing.T, email string, mails int, header ...string) (userID string) {
	t.Helper()
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
		fields{"email": email, "password": "a long enough one"}, header...)
	inbox, err := p.Inbox().Wait(t.Context(), email, mails)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(inbox[0].Text)})
	require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(),
		"SELECT id FROM users WHERE username = $1 AND deleted_at IS NULL", email).Scan(&userID))
	return userID
}

func TestTimeTravel(t *testing.T) {
	t.Run("fourteen days pass from one due moment to the next", func(t *testing.T) {
		p := start(t, t.TempDir())
		events, untap := p.Tap("#")
		defer untap()
		began := p.clock.Now()
		const email = "mai@example.com"
		userID := p.verified(t, email, 1, "lang", "vi")

		moments := p.advance(t, 15)
		require.Len(t, moments, 3)
		for i, days := range []int{11, 13, 14} {
			require.WithinDuration(t, began.AddDate(0, 0, days), moments[i], time.Minute)
		}
		require.WithinDuration(t, began.AddDate(0, 0, 15), p.clock.Now(), time.Minute)
		mails, err := p.Inbox().Wait(t.Context(), email, 3)
		require.NoError(t, err)
		require.Len(t, mails, 3)
		require.Contains(t, mails[1].Subject, "3", "the newest comes first")
		require.NotEqual(t, mails[0].Subject, mails[1].Subject)
		require.Contains(t, mails[0].Text, "dùng thử", "in the language of the registration")

		schemas := apitest.NewEvents(t)
		var keys []string
		var last event.Message
		for len(keys) < 6 {
			last = <-events
			schemas.Check(t, last)
			keys = append(keys, last.RoutingKey)
		}
		require.Equal(t, []string{
			"email.verification.requested", "subscription.created", "user.verified",
			"email.trial_ending.requested", "email.trial_ending.requested", "subscription.cancelled",
		}, keys)
		_, data, err := event.Decode[event.SubscriptionCancelledData](last)
		require.NoError(t, err)
		require.Equal(t, "trial_expired", data.CancellationReason)
		require.Equal(t, []string{"trialing", "expired"}, []string{data.PreviousStatus, data.NewStatus})
		require.Equal(t, "expired", p.Redis().HGet(t.Context(), "smap:sub:"+userID, "status").Val(), "nothing is left to wait for")
		require.Zero(t, p.number(t, "SELECT count(*) FROM outbox"))

		status, _, _ := p.call(t, http.MethodGet, "/subscriptions/me", nil)
		require.Equal(t, http.StatusUnauthorized, status, "the token of two weeks ago has expired")
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": "a long enough one"})
		_, code, _ := p.call(t, http.MethodGet, "/subscriptions/me", nil)
		require.Equal(t, 130002, code)

		require.Empty(t, p.advance(t, 60))
		require.Zero(t, p.Redis().Exists(t.Context(), "smap:sub:"+userID).Val(), "keys in Redis have aged with everything else")
	})
	t.Run("metrics tell what the scheduler does", func(t *testing.T) {
		p := start(t, t.TempDir())
		p.verified(t, "mai@example.com", 1)
		p.advance(t, 14)
		metrics := get(t, p.APIURL()+"/metrics")
		for _, line := range []string{
			`subscriptions_expired_total{from="trialing"} 1`, `trial_reminders_total{days="3"} 1`,
			`trial_reminders_total{days="1"} 1`, "subscription_scheduler_lag_seconds 0", "subscription_scheduler_failures_total 0",
		} {
			require.Contains(t, metrics, line)
		}
	})
	t.Run("refuses what is no number of days", func(t *testing.T) {
		p := start(t, t.TempDir())
		for _, body := range []string{`{}`, `{"days":0}`, `{"days":-1}`, `{"days":401}`, `{"days":1.5}`, `{"hours":1}`, `[]`} {
			status, _, _ := p.call(t, http.MethodPost, "/dev/clock/advance", body)
			require.Equal(t, http.StatusBadRequest, status, body)
		}
	})
	t.Run("refuses while a mail is on its way, or time is being moved", func(t *testing.T) {
		for _, port := range []string{"APP_PORT", "CONSUMER_PORT", "INBOX_PORT", "SMTP_PORT"} {
			t.Setenv(port, "0")
		}
		t.Setenv("DATA_DIR", t.TempDir())
		cfg, err := config.Load(config.Standalone)
		require.NoError(t, err)
		s, err := NewStandalone(t.Context(), cfg, "test", zerolog.Nop())
		require.NoError(t, err)
		defer s.close()
		journey := &timeTravel{App: s.App}
		before := s.clock.Now()

		journey.moving.Lock()
		_, err = journey.travel(t.Context(), time.Hour)
		require.ErrorIs(t, err, errMailInFlight)
		journey.moving.Unlock()

		require.NoError(t, s.embedded.broker.Send(t.Context(), []event.Message{{
			ID: "evt_1", Exchange: event.Exchange, RoutingKey: string(event.EmailVerificationRequested), Mandatory: true,
		}})[0])
		_, err = journey.travel(t.Context(), time.Hour)
		require.ErrorIs(t, err, errMailInFlight)
		require.WithinDuration(t, before, s.clock.Now(), time.Minute)
	})
}
