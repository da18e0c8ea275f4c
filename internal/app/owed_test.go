package app

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
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
