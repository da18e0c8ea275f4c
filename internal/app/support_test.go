package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// person is what support is shown of an address.
func (p *program) person(t *testing.T, email string) ops.Person {
	t.Helper()
	shown, err := ShowPerson(t.Context(), p.cfg, p.db, email)
	require.NoError(t, err)
	return shown
}

// anotherMinute makes codes old enough for others. A command has a clock of its own.
func (p *program) anotherMinute(t *testing.T) {
	t.Helper()
	aMinuteAgo := p.clock.Now().Add(-time.Minute)
	for _, statement := range []string{"UPDATE code_requests SET code_at = $1", "UPDATE limits SET last_at = $1"} {
		_, err := p.db.Exec(t.Context(), "ageing", statement, aMinuteAgo)
		require.NoError(t, err)
	}
}

// TestSupport asks what support asks: did they get their mail?
func TestSupport(t *testing.T) {
	p := start(t, t.TempDir())
	const an, password = "an@example.com", "a long enough one"
	_, err := ShowPerson(t.Context(), p.cfg, p.db, an)
	require.ErrorIs(t, err, ops.ErrNobody)
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

	require.Empty(t, shown.Warnings)
	other := p.cfg
	other.Secrets.CodeHMAC = config.Key(codeKey)
	foreign, err := ShowPerson(t.Context(), other, p.db, an)
	require.NoError(t, err)
	require.Len(t, foreign.Mails, 1, "it belongs to the request")
	require.Equal(t, []string{warnKey}, foreign.Warnings)
	other.Secrets.CodeHMACPrevious = p.cfg.Secrets.CodeHMAC
	rotated, err := ShowPerson(t.Context(), other, p.db, an)
	require.NoError(t, err)
	require.Equal(t, shown, rotated, "the key before finds its mails")

	_, _, err = ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), "a test", an)
	require.ErrorContains(t, err, "try again in", "within the limits")
	p.anotherMinute(t)
	purpose, eventID, err := ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), "a test", an)
	require.NoError(t, err)
	require.Equal(t, "verification", purpose)
	require.Equal(t, "a test verification", p.text(t, "SELECT operator || ' ' || reason FROM audit_entries WHERE subject_id = $1", eventID))
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
	_, _, err = ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), "a test", an)
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
	t.Run("and administrators see who had a code mailed again", func(t *testing.T) {
		found := p.ok(t, http.StatusOK, http.MethodGet, "/audit?action=mail.resent", nil)
		require.Contains(t, string(found), `"operator":"a test"`)
		require.Contains(t, string(found), `"subject_id":"`+eventID+`"`)
		require.Contains(t, string(found), `"total":1`)
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

// A mail waits while a process works at it: one that was given up does not, nor one that others may have sent.
func TestWaitingMails(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
		an := notification.NewRecipientKey(codeKey).Digest("an@example.com")
		states := []notification.State{
			notification.StateOwed, notification.StateSending, notification.StateLegacy, notification.StateAccepted,
			notification.StateFailed, notification.StateExpired, notification.StateSuperseded,
		}
		var entries []notification.Delivery
		for _, state := range append(states, notification.StateOwed, notification.StateOwed) {
			d := notification.NewOwed(fmt.Sprintf("evt_%d", len(entries)), "verification", an, now, now)
			d.State = state
			entries = append(entries, d)
		}
		require.NoError(t, db.WithinTx(t.Context(), func(ctx context.Context) error {
			return mailsql.NewLedger(db).Owe(ctx, entries)
		}))
		for _, row := range []struct {
			event  string
			failed *time.Time
		}{{"evt_7", nil}, {"evt_8", &now}} {
			_, err := db.Exec(t.Context(), "storing a row", `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type,
				mandatory, headers, body, sealed, event_time, created_at, available_at, failed_at)
				VALUES ($1, $2, 'x', 'x', 'x', true, '{}', $3, false, $4, $4, $4, $5)`, uuid.NewString(), row.event, []byte{}, now, row.failed)
			require.NoError(t, err)
		}
		var p reading
		require.NoError(t, p.readMails(t.Context(), db, now, an))
		places := map[string]string{}
		for _, m := range p.Mails {
			places[m.EventID] = m.State
		}
		require.Equal(t, map[string]string{
			"evt_0": "owed", "evt_1": "sending", "evt_2": "legacy", "evt_3": "accepted", "evt_4": "failed",
			"evt_5": "expired", "evt_6": "superseded", "evt_7": "outbox", "evt_8": "dead",
		}, places)
		var waiting []string
		for _, m := range p.Waiting {
			waiting = append(waiting, m.EventID)
		}
		require.ElementsMatch(t, []string{"evt_0", "evt_1", "evt_7"}, waiting)
	})
}
