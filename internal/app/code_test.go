package app

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/render"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time { return c.now }

// stubMailer returns failure, or accepts the mail where there is none.
type stubMailer struct {
	failure error
	sent    int
}

func (m *stubMailer) Send(ctx context.Context, _ notification.Mail, accepted func(context.Context) error) error {
	if m.failure != nil {
		return m.failure
	}
	m.sent++
	return accepted(ctx)
}

var codeKey = authentication.CodeKey("a key of thirty-two bytes, really")

// greylisted is a person whose code's mail is refused for a while, on real repositories.
type greylisted struct {
	*testing.T
	db       *database.DB
	clock    *handClock
	mailer   *stubMailer
	events   *eventtest.Recorder
	requests *authsql.CodeRequests
	user     authentication.User
	codeMail *authentications.CodeMailSender
	replaced int
}

func eachGreylisted(t *testing.T, test func(g *greylisted)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		g := &greylisted{
			T:        t,
			db:       db,
			clock:    &handClock{time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)},
			mailer:   &stubMailer{failure: &notification.SendError{Class: notification.ClassTemporary, Where: "smtp_rcpt_451"}},
			events:   &eventtest.Recorder{},
			requests: authsql.NewCodeRequests(db),
		}
		renderer, err := render.New()
		require.NoError(t, err)
		g.codeMail = authentications.NewCodeMailSender(authentications.CodeMailSenderDeps{
			Tx:       db,
			Users:    authsql.NewUsers(db),
			Requests: g.requests,
			Mailer: notifications.New(notifications.Deps{
				Tx:         db,
				Ledger:     mailsql.NewLedger(db),
				Mailer:     g.mailer,
				Renderer:   renderer,
				Clock:      g.clock,
				Observer:   &mailObserver{metrics: newMetrics()},
				Lease:      mailLease,
				RenewEvery: renewEvery,
				Domain:     "smap.example",
			}),
			Events:   g.events,
			Clock:    g.clock,
			CodeKeys: authentication.CodeKeys{codeKey},
			Replaced: func(context.Context, string) { g.replaced++ },
		})
		g.user = authentication.User{
			ID:           uuid.Must(uuid.NewV7()).String(),
			Email:        "an@example.com",
			PasswordHash: "hash",
			Role:         authentication.RoleUser,
			CreatedAt:    g.clock.now,
			UpdatedAt:    g.clock.now,
		}
		g.store(func(ctx context.Context) error {
			if err := authsql.NewUsers(db).Create(ctx, g.user); err != nil {
				return err
			}
			return g.requests.Save(ctx, authentication.CodeRequest{
				ID:           uuid.Must(uuid.NewV7()).String(),
				Purpose:      authentication.PurposeVerification,
				Email:        g.user.Email,
				UserID:       g.user.ID,
				PasswordHash: "hash",
				CreatedAt:    g.clock.now,
				Code: authentication.Code{
					Digest:    []byte("digest"),
					EventID:   "evt_1",
					CreatedAt: g.clock.now,
					ExpiresAt: g.clock.now.Add(authentication.CodeLifetime),
				},
			})
		})
		test(g)
	})
}

func (g *greylisted) store(fn func(ctx context.Context) error) {
	g.Helper()
	require.NoError(g, g.db.WithinTx(context.Background(), fn))
}

// request returns the only request, with the newest code.
func (g *greylisted) request() (r authentication.CodeRequest) {
	g.Helper()
	g.store(func(ctx context.Context) error {
		requests, err := g.requests.OfAddress(ctx, g.user.Email, authentication.PurposeVerification)
		require.Len(g, requests, 1)
		r = requests[0]
		return err
	})
	return r
}

func (g *greylisted) code() authentication.Code { return g.request().Code }

// deliver delivers an event of a code that was asked for when the test began, and returns what became of it.
func (g *greylisted) deliver(eventID string, expiresAt time.Time) string {
	g.Helper()
	err := g.codeMail.Send(context.Background(), eventID, event.VerificationRequested{
		UserID: g.user.ID, Recipient: g.user.Email, OTPCode: "123456", Locale: "en", ExpiresAt: expiresAt,
	})
	return event.Decide(err, event.Delivery{}, event.Policy{Levels: []time.Duration{time.Second}}, false, g.clock.now).Outcome
}

func (g *greylisted) state(eventID string) notification.State {
	g.Helper()
	state, err := mailsql.NewLedger(g.db).State(context.Background(), eventID)
	require.NoError(g, err)
	return state
}

func TestGreylistedCode(t *testing.T) {
	t.Parallel()
	t.Run("is replaced once by a fresh one, which verifies", func(t *testing.T) {
		t.Parallel()
		eachGreylisted(t, func(g *greylisted) {
			first := g.code()
			require.Equal(g, "retry", g.deliver("evt_1", first.ExpiresAt))
			g.clock.now = g.clock.now.Add(11 * time.Minute)
			require.Equal(g, event.DropExpired, g.deliver("evt_1", first.ExpiresAt))
			require.Equal(g, event.DropExpired, g.deliver("evt_1", first.ExpiresAt), "as often as it comes")
			require.Equal(g, 1, g.replaced)
			require.Len(g, g.events.Events(), 1)
			fresh := g.code()
			require.Equal(g, g.events.Events()[0].ID, fresh.EventID)
			require.Equal(g, notification.StateExpired, g.state("evt_1"))

			g.mailer.failure = nil
			require.Equal(g, event.Handled, g.deliver(fresh.EventID, fresh.ExpiresAt))
			require.Equal(g, 1, g.mailer.sent)
			digits := g.events.Events()[0].Data.(event.VerificationRequested).OTPCode
			_, err := authentication.CodeKeys{codeKey}.TryDigits([]authentication.CodeRequest{g.request()}, digits, g.clock.now)
			require.NoError(g, err)
		})
	})

	t.Run("is not replaced a second time", func(t *testing.T) {
		t.Parallel()
		eachGreylisted(t, func(g *greylisted) {
			first := g.code()
			g.clock.now = first.ExpiresAt // no try was made at all: the consumers were down
			require.Equal(g, event.DropExpired, g.deliver("evt_1", first.ExpiresAt))
			require.Equal(g, 1, g.replaced)
			fresh := g.code()
			g.clock.now = fresh.ExpiresAt
			require.Equal(g, event.DropExpired, g.deliver(fresh.EventID, fresh.ExpiresAt))
			require.Equal(g, 1, g.replaced)
			require.Equal(g, fresh, g.code())
			require.Equal(g, notification.StateExpired, g.state(fresh.EventID))
		})
	})

	t.Run("is not replaced where a server may have had the mail", func(t *testing.T) {
		t.Parallel()
		eachGreylisted(t, func(g *greylisted) {
			first := g.code()
			g.mailer.failure = &notification.SendError{Class: notification.ClassAmbiguous, Where: "smtp_end_of_data"}
			require.Equal(g, "retry", g.deliver("evt_1", first.ExpiresAt))
			g.clock.now = first.ExpiresAt
			require.Equal(g, event.DropExpired, g.deliver("evt_1", first.ExpiresAt))
			require.Zero(g, g.replaced)
			require.Equal(g, first, g.code())
		})
	})

	// The holder of a mail was killed, and its code was used meanwhile.
	t.Run("whose holder has died ends in the ledger when it was used", func(t *testing.T) {
		t.Parallel()
		eachGreylisted(t, func(g *greylisted) {
			first := g.code()
			g.store(func(ctx context.Context) error {
				ledger := mailsql.NewLedger(g.db)
				d, err := ledger.Lock(ctx, notification.NewDelivery("evt_1", "evt_1@smap.example", g.clock.now))
				if err != nil {
					return err
				}
				if _, err := d.Claim(g.clock.now, mailLease, notification.MaxCodeResends); err != nil {
					return err
				}
				return ledger.Save(ctx, d)
			})
			used := g.request()
			used.Code.UsedAt = g.clock.now
			g.store(func(ctx context.Context) error { return g.requests.Save(ctx, used) })
			require.Equal(g, "retry", g.deliver("evt_1", first.ExpiresAt), "the event is kept")
			g.clock.now = g.clock.now.Add(mailLease)
			require.Equal(g, event.DropSuperseded, g.deliver("evt_1", first.ExpiresAt))
			require.Equal(g, notification.StateSuperseded, g.state("evt_1"))
		})
	})
}
