package app

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// verified registers an address and verifies it, by the newest of so many mails.
func (p *program) verified(t *testing.T, email string, mails int) {
	t.Helper()
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
		fields{"email": email, "password": "a long enough one"})
	inbox, err := p.Inbox().Wait(t.Context(), email, mails)
	require.NoError(t, err)
	otp := sixDigits.FindString(inbox[0].Text)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": otp})
}

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
