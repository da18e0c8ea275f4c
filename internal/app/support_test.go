package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/notification"
)

// person is what support is shown of an address.
func (p *program) person(t *testing.T, email string) Person {
	t.Helper()
	shown, err := ShowPerson(t.Context(), p.cfg, p.db, email)
	require.NoError(t, err)
	return shown
}

// TestSupport asks what support asks: did they get their mail?
func TestSupport(t *testing.T) {
	p := start(t, t.TempDir())
	const an, password = "an@example.com", "a long enough one"
	_, err := ShowPerson(t.Context(), p.cfg, p.db, an)
	require.ErrorIs(t, err, errNothingKnown)
	_, err = ShowPerson(t.Context(), p.cfg, p.db, "an")
	require.Error(t, err)

	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": an, "password": password})
	mails, err := p.Inbox().Wait(t.Context(), an, 1)
	require.NoError(t, err)
	code := sixDigits.FindString(mails[0].Text)
	p.eventually(t, 1, "SELECT count(*) FROM mail_deliveries WHERE state = 'accepted'")

	shown := p.person(t, "An@Example.com")
	require.Equal(t, "not verified", shown.User.State)
	require.Equal(t, "USER", shown.User.Role)
	require.Nil(t, shown.Subscription)
	require.Empty(t, shown.Sessions)
	require.Len(t, shown.Requests, 1)
	require.Equal(t, "good", shown.Requests[0].State)
	require.Len(t, shown.Mails, 1)
	require.Equal(t, "accepted", shown.Mails[0].State)
	require.Equal(t, "verification", shown.Mails[0].Kind)
	require.Equal(t, shown.Requests[0].EventID, shown.Mails[0].EventID)
	require.Empty(t, shown.Waiting)

	_, _, err = ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), an)
	require.ErrorContains(t, err, "try again in", "within the limits")
	aMinuteAgo := p.clock.Now().Add(-time.Minute)
	for _, statement := range []string{"UPDATE code_requests SET code_at = $1", "UPDATE limits SET last_at = $1"} {
		_, err = p.db.Exec(t.Context(), "ageing", statement, aMinuteAgo)
		require.NoError(t, err)
	}
	purpose, eventID, err := ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), an)
	require.NoError(t, err)
	require.Equal(t, "verification", purpose)
	mails, err = p.Inbox().Wait(t.Context(), an, 2)
	require.NoError(t, err)
	require.Contains(t, mails[0].MessageID+mails[1].MessageID, eventID)
	p.eventually(t, 2, "SELECT count(*) FROM mail_deliveries WHERE state = 'accepted'")
	for _, m := range mails {
		if strings.Contains(m.MessageID, eventID) {
			code = sixDigits.FindString(m.Text)
		}
	}
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": an, "otp": code})

	shown = p.person(t, an)
	require.Equal(t, "active", shown.User.State)
	require.Equal(t, "trialing", shown.Subscription.Status)
	require.True(t, shown.Subscription.Entitled)
	require.Equal(t, "used", shown.Requests[0].State)
	require.Len(t, shown.Mails, 2)
	require.Equal(t, eventID, shown.Mails[0].EventID, "the newest first")
	_, _, err = ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), an)
	require.ErrorIs(t, err, authentications.ErrNothingToResend)

	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": an, "password": password})
	shown = p.person(t, an)
	require.Len(t, shown.Sessions, 1)
	require.False(t, shown.Sessions[0].LastSeenAt.IsZero())
	t.Run("a person who was invited", func(t *testing.T) {
		p.loginAdmin(t)
		p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", "email\nlan@example.com\n", "Content-Type", "text/csv")
		shown := p.person(t, "lan@example.com")
		require.Equal(t, "invited", shown.User.State)
		require.Len(t, shown.Invitations, 1)
		require.Equal(t, "open", shown.Invitations[0].State)
		require.Len(t, shown.Mails, 1)
		require.Equal(t, "invitation", shown.Mails[0].Kind)
		require.Equal(t, shown.Invitations[0].EventID, shown.Mails[0].EventID)
	})
	t.Run("a person who was deleted", func(t *testing.T) {
		_, err := p.db.Exec(t.Context(), "deleting", "UPDATE users SET deleted_at = $1 WHERE username = 'lan@example.com'", p.clock.Now())
		require.NoError(t, err)
		shown := p.person(t, "Lan@example.com")
		require.Equal(t, "deleted", shown.User.State)
		require.False(t, shown.User.DeletedAt.IsZero())
		require.Len(t, shown.Mails, 1)
	})

	text, err := json.Marshal(shown)
	require.NoError(t, err)
	require.NotContains(t, string(text), code)
	require.NotContains(t, string(text), "digest")
}

func TestPlaceOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	later := now.Add(time.Minute)
	waiting := &outbox.Waiting{DueAt: later, Class: "unroutable"}
	givenUp := &outbox.Waiting{DueAt: later, FailedAt: now, Class: "unroutable"}
	for name, test := range map[string]struct {
		state notification.State
		class string
		lease *time.Time
		row   *outbox.Waiting

		wantPlace, wantClass string
		wantNext             time.Time
	}{
		"in the outbox":                  {notification.StateOwed, "", nil, waiting, "outbox", "unroutable", later},
		"given up there":                 {notification.StateOwed, "", nil, givenUp, "dead", "unroutable", time.Time{}},
		"in the broker":                  {notification.StateOwed, "", nil, nil, "owed", "", time.Time{}},
		"being sent":                     {notification.StateSending, "", &later, nil, "sending", "", later},
		"being sent, from a row as well": {notification.StateSending, "smtp_rcpt_450", nil, waiting, "sending", "smtp_rcpt_450", time.Time{}},
		"accepted":                       {notification.StateAccepted, "", nil, nil, "accepted", "", time.Time{}},
		"refused":                        {notification.StateFailed, "smtp_rcpt_550", nil, nil, "failed", "smtp_rcpt_550", time.Time{}},
		"a dead letter":                  {notification.StateFailed, "given_up_exhausted", nil, nil, "dead", "exhausted", time.Time{}},
		"lost":                           {notification.StateFailed, "lost", nil, nil, "dead", "lost", time.Time{}},
		"expired":                        {notification.StateExpired, "", nil, nil, "expired", "", time.Time{}},
		"superseded":                     {notification.StateSuperseded, "ambiguous", nil, nil, "superseded", "ambiguous", time.Time{}},
		"left to the previous release":   {notification.StateLegacy, "", nil, nil, "legacy", "", time.Time{}},
		"its copy in the outbox":         {notification.StateLegacy, "", nil, waiting, "outbox", "unroutable", later},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var row outbox.Waiting
			if test.row != nil {
				row = *test.row
			}
			d := notification.Delivery{State: test.state, ErrorClass: test.class, LeaseUntil: test.lease}
			place, class, next := placeOf(d, row, test.row != nil)
			require.Equal(t, test.wantPlace, place)
			require.Equal(t, test.wantClass, class)
			require.Equal(t, test.wantNext, next)
		})
	}
}
