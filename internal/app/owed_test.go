package app

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// TestOwedMails is about the time between the commit that asks for a mail and the mail.
func TestOwedMails(t *testing.T) {
	p := start(t, t.TempDir())
	const register = "/authentication/register"
	p.ok(t, http.StatusCreated, http.MethodPost, register, fields{"email": "an@example.com", "password": "a long enough one"})
	mails, err := p.Inbox().Wait(t.Context(), "an@example.com", 1)
	require.NoError(t, err)
	require.Len(t, mails, 1)
	p.eventually(t, 1, "SELECT count(*) FROM mail_deliveries WHERE state = 'accepted' AND kind = 'verification'")
	var recipient []byte
	require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT recipient FROM mail_deliveries").
		Scan(&recipient))
	require.Equal(t, p.recipientKey().Digest("An@Example.com"), recipient)

	t.Run("a mail is owed from the commit on", func(t *testing.T) {
		owed := p.number(t, "SELECT count(*) FROM mail_deliveries")
		p.ok(t, http.StatusCreated, http.MethodPost, register, fields{"email": "binh@example.com", "password": "a long enough one"})
		require.Equal(t, owed+1, p.number(t, "SELECT count(*) FROM mail_deliveries"))
	})

	t.Run("health shows what people wait for", func(t *testing.T) {
		var health struct{ Details dependencies }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/health", nil), &health))
		require.NotNil(t, health.Details.Mails)
	})
}

// Who sends a mail with a code depends on the phase of the migration. What is left to others is not owed.
func TestOwedMailsByPhase(t *testing.T) {
	t.Parallel()
	for phase, want := range map[legacy.Phase]struct {
		state        notification.State
		rows, copies int
	}{
		legacy.Prepare:  {notification.StateLegacy, 0, 1},
		legacy.Dual:     {notification.StateLegacy, 1, 1},
		legacy.Cutover:  {notification.StateOwed, 1, 0},
		legacy.Complete: {notification.StateOwed, 1, 0},
	} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			schematest.Each(t, func(t *testing.T, db *database.DB) {
				cfg := config.Config{
					Events:  config.Events{Phase: string(phase)},
					Secrets: config.Secrets{EventsSeal: bytes.Repeat([]byte{7}, 32), CodeHMAC: config.Key(codeKey)},
				}
				in, events, err := publishing(t.Context(), cfg, db, zerolog.Nop())
				require.NoError(t, err)
				now := in.clock.Now()
				mail := event.VerificationRequested{
					UserID: uuid.NewString(), Recipient: "an@example.com", OTPCode: "123456", Locale: "en",
					ExpiresAt: now.Add(authentication.CodeLifetime),
				}
				require.NoError(t, db.WithinTx(t.Context(), func(ctx context.Context) error {
					return events.Publish(ctx, event.Event{ID: "evt_1", Key: event.EmailVerificationRequested, Time: now, Data: mail})
				}))
				ledger := mailsql.NewLedger(db)
				state, err := ledger.State(t.Context(), "evt_1")
				require.NoError(t, err)
				require.Equal(t, want.state, state)
				owed, err := ledger.Owed(t.Context(), now.Add(time.Second))
				require.NoError(t, err)
				require.Equal(t, want.state == notification.StateOwed, owed.Mails == 1)
				for table, n := range map[outbox.Table]int{outbox.Rows: want.rows, legacy.Rows: want.copies} {
					found, err := table.Find(t.Context(), db, []string{"evt_1"})
					require.NoError(t, err)
					require.Len(t, found, n, table)
				}
			})
		})
	}
}
