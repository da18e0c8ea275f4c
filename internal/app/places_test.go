package app

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/smtptest"
)

// later lets time pass once no mail is in hand: its lease would end.
func (p *program) later(t *testing.T, d time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool { return len(p.embedded.broker.Busy()) == 0 }, 10*time.Second, time.Millisecond)
	p.clock.Advance(d)
	p.pass(d)
	p.embedded.broker.Wake()
	p.relay.Wake()
}

// showsMails waits until the mails to an address are in these states, the newest first, and returns them.
func (p *program) showsMails(t *testing.T, email string, want ...string) (mails []ops.PersonMail) {
	t.Helper()
	var states []string
	require.Eventually(t, func() bool {
		mails, states = p.person(t, email).Mails, nil
		for _, m := range mails {
			states = append(states, m.State)
		}
		return slices.Equal(want, states)
	}, 20*time.Second, 10*time.Millisecond, "%s", email)
	return mails
}

// Support finds a mail wherever a mail server leaves it.
func TestPlacesOfMails(t *testing.T) {
	const an, binh, chi, late, password = "an@example.com", "binh@example.com", "chi@example.com", "late@example.com", "a long enough one"
	server := smtptest.Start(t, smtptest.Options{})
	p := start(t, t.TempDir(), func(a *App) { a.cfg.SMTP.Host, a.cfg.SMTP.Port = server.Host(), server.Port() })
	register := func(email string) {
		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": password})
	}
	refuse := func(email string, code int) {
		server.Script(smtptest.At(smtptest.Rcpt).Reply(code).To(func(to string) bool { return to == email }))
	}

	taken := make(chan struct{})
	server.Script(smtptest.At(smtptest.EndOfData).Until(taken))
	register(an)
	m := p.showsMails(t, an, "sending")[0]
	require.NotNil(t, m.NextAt, "nobody else tries before")
	require.Len(t, p.person(t, an).Waiting, 1)
	close(taken)
	p.showsMails(t, an, "accepted")
	require.Empty(t, p.person(t, an).Waiting)

	refuse(chi, 550)
	register(chi)
	require.Equal(t, "smtp_rcpt_550", p.showsMails(t, chi, "failed")[0].Class)

	refuse(binh, 450)
	register(binh)
	require.Eventually(t, func() bool { return p.showsMails(t, binh, "sending")[0].Class == "smtp_rcpt_450" },
		10*time.Second, 10*time.Millisecond)
	p.anotherMinute(t)
	_, eventID, err := ResendMail(t.Context(), p.cfg, p.db, zerolog.Nop(), "a test", binh)
	require.NoError(t, err)
	server.Script()
	p.later(t, time.Minute)
	require.Equal(t, eventID, p.showsMails(t, binh, "accepted", "superseded")[0].EventID)

	refuse(late, 450)
	register(late)
	p.showsMails(t, late, "sending")
	p.later(t, 11*time.Minute)
	server.Script()
	p.later(t, time.Minute)
	p.showsMails(t, late, "accepted", "expired")

	id := p.text(t, "SELECT id FROM users WHERE username = $1", an)
	_, err = p.db.Exec(t.Context(), "verifying", "UPDATE users SET is_active = TRUE WHERE id = $1", id)
	require.NoError(t, err)
	refuse(an, 450)
	require.NoError(t, p.operator(t).Disable(t.Context(), an, ""))
	require.Eventually(t, func() bool {
		p.later(t, 10*time.Minute)
		return p.person(t, an).Mails[0].State == placeDead
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "exhausted", p.showsMails(t, an, "dead", "accepted")[0].Class)
}
