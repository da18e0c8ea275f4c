package usecase_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/notification/smtp"
	"github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/mailer"
)

// whole is a Sender on a real ledger and a real SMTP conversation.
type whole struct {
	*testing.T
	db     *database.DB
	server *smtptest.Server
	clock  *laterClock
	sender *usecase.Sender
	counts *counts
}

func eachWhole(t *testing.T, test func(w whole)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		server := smtptest.Start(t, smtptest.Options{})
		client, err := mailer.New(mailer.Options{
			Host: server.Host(), Port: server.Port(), From: "no-reply@smap.example", TLS: mailer.TLSNone, HelloName: "localhost",
		})
		require.NoError(t, err)
		w := whole{t, db, server, &laterClock{Clock: database.NewClock(db)}, nil, &counts{}}
		w.sender = usecase.New(usecase.Deps{
			Tx:       db,
			Ledger:   sqldb.NewLedger(db),
			Mailer:   smtp.New(client),
			Renderer: plain{},
			Clock:    w.clock,
			Observer: w.counts,
			Lease:    time.Minute,

			RenewEvery: 20 * time.Second,
			Domain:     "smap.example",
		})
		test(w)
	})
}

// laterClock is ahead of the database's.
type laterClock struct {
	*database.Clock
	ahead atomic.Int64
}

func (c *laterClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

func (w whole) pass(d time.Duration) { w.clock.ahead.Add(int64(d)) }

func (w whole) deliver() event.Decision {
	err := w.sender.SendVerification(context.Background(), eventID, event.VerificationRequested{
		UserID:    "user-1",
		Recipient: recipient,
		OTPCode:   code,
		Locale:    "en",
		ExpiresAt: time.Now().Add(10 * time.Minute),
	})
	return event.Decide(err, event.Delivery{Message: event.Message{ID: eventID}}, policy, false, time.Now())
}

// deliverMany delivers the event n times at once and returns how often each outcome occurred.
func (w whole) deliverMany(n int) map[string]int {
	outcomes := make(chan string, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			outcomes <- w.deliver().Outcome
		})
	}
	done.Wait()
	close(outcomes)
	found := map[string]int{}
	for outcome := range outcomes {
		found[outcome]++
	}
	return found
}

// requireMails requires n copies of the same mail at the server.
func (w whole) requireMails(n int) {
	w.Helper()
	received := w.server.Received()
	require.Len(w, received, n)
	for _, mail := range received {
		require.Equal(w, messageID, mail.MessageID)
		require.Equal(w, []string{recipient}, mail.To)
	}
}

func (w whole) requireState(want notification.State) {
	w.Helper()
	state, err := sqldb.NewLedger(w.db).State(context.Background(), eventID)
	require.NoError(w, err)
	require.Equal(w, want, state)
}

type plain struct{}

func (plain) PasswordReset(string, string, time.Time, time.Time) (notification.Content, error) {
	return notification.Content{Subject: "A code", Text: "for a new password"}, nil
}

func (plain) SecurityNotice(string, string, time.Time) (notification.Content, error) {
	return content, nil
}

func (plain) AccountExists(string) (notification.Content, error) {
	return notification.Content{Subject: "A notice", Text: "about an account"}, nil
}

func (plain) Verification(string, string, time.Time, time.Time) (notification.Content, error) {
	return content, nil
}

func (plain) Invitation(string, string, string, time.Time) (notification.Content, error) {
	return content, nil
}

func (plain) ProjectCompleted(string, notification.Completion) (notification.Content, error) {
	return content, nil
}

func (plain) TrialEnding(string, int, time.Time) (notification.Content, error) { return content, nil }

type counts struct {
	mu                         sync.Mutex
	accepted, failed, repeated int
}

func (c *counts) add(n *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

func (c *counts) MailAccepted(context.Context, string, string) { c.add(&c.accepted) }
func (c *counts) MailFailed(string)                            { c.add(&c.failed) }
func (c *counts) MailRepeated()                                { c.add(&c.repeated) }
func (c *counts) MailDropped(notification.State)               {}

func TestSender(t *testing.T) {
	t.Parallel()
	t.Run("sends one mail for twenty deliveries", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			outcomes := w.deliverMany(20)
			require.Equal(w, 1, outcomes["handled"], outcomes)
			require.Equal(w, 19, outcomes["retry"]+outcomes[event.DropDuplicate], outcomes)
			require.Equal(w, map[string]int{event.DropDuplicate: 5}, w.deliverMany(5))
			w.requireMails(1)
			w.requireState(notification.StateAccepted)
			require.Equal(w, &counts{accepted: 1}, w.counts)
		})
	})

	t.Run("repeats a mail that was cut after the final dot", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			w.server.Script(smtptest.At(smtptest.EndOfData).Cut().Times(1))
			require.Equal(w, event.Retry, w.deliver().Action)
			w.deliverMany(20)
			w.requireMails(1)
			w.pass(30 * time.Second)
			w.deliverMany(20)
			w.requireMails(2)
			w.requireState(notification.StateAccepted)
			require.Equal(w, event.DropDuplicate, w.deliver().Outcome)
			require.Equal(w, &counts{accepted: 1, failed: 1, repeated: 1}, w.counts)
		})
	})

	t.Run("gives up after three cuts", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			w.server.Script(smtptest.At(smtptest.EndOfData).Cut())
			for range 2 {
				require.Equal(w, event.Retry, w.deliver().Action)
				w.pass(2 * time.Minute)
			}
			for range 3 {
				require.Equal(w, event.ReasonAmbiguous, w.deliver().Outcome)
			}
			w.requireMails(3)
			w.requireState(notification.StateFailed)
		})
	})

	t.Run("sends once when cut after the 250", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			w.server.Script(smtptest.At(smtptest.EndOfData).AnswerAndCut())
			require.Equal(w, "handled", w.deliver().Outcome)
			require.Equal(w, event.DropDuplicate, w.deliver().Outcome)
			w.requireMails(1)
			w.requireState(notification.StateAccepted)
			require.Equal(w, &counts{accepted: 1}, w.counts)
		})
	})

	t.Run("sends a refused mail only after it was reopened", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			w.server.Script(smtptest.At(smtptest.Rcpt).Reply(550).Times(1))
			require.Equal(w, event.ReasonRejected, w.deliver().Outcome)
			require.Equal(w, event.ReasonRejected, w.deliver().Outcome)
			require.Equal(w, 1, w.server.Connections(), "the server is not asked again")

			require.NoError(w, sqldb.NewLedger(w.db).Reopen(context.Background(), eventID, w.clock.Now()))
			require.Equal(w, "handled", w.deliver().Outcome)
			w.requireMails(1)
			require.Equal(w, &counts{accepted: 1, failed: 1}, w.counts)
		})
	})

	// One part, HTML, as it was rendered, to every address it names.
	t.Run("sends a mail written elsewhere unchanged", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			mail := notification.Mail{
				To:      recipient,
				Cc:      []string{"binh@example.com"},
				ReplyTo: "help@smap.example",
				Content: notification.Content{Subject: "Your code", HTML: "<p>123456</p>"},
			}
			send := func(eventID string) error {
				return w.sender.SendMail(context.Background(), eventID, mail, time.Time{})
			}
			require.NoError(w, send(eventID))
			require.Equal(w, event.Drop(event.DropDuplicate), send(eventID))
			mail.To = ""
			require.Error(w, send("evt_without_a_recipient"))

			received := w.server.Received()
			require.Len(w, received, 1)
			require.Equal(w, messageID, received[0].MessageID)
			require.Equal(w, []string{recipient, "binh@example.com"}, received[0].To)
			for _, line := range []string{
				"Subject: Your code", "Cc: <binh@example.com>", "Reply-To: <help@smap.example>",
				"Content-Type: text/html; charset=UTF-8", "<p>123456</p>",
			} {
				require.Contains(w, string(received[0].Data), line+"\r\n")
			}
			w.requireState(notification.StateAccepted)
			require.Equal(w, &counts{accepted: 1, failed: 1}, w.counts)
		})
	})
}
