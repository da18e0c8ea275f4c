package usecase_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

// newForwarding is a fixture whose event is a mail that was rendered elsewhere; no Renderer is expected.
func newForwarding(t *testing.T, change ...func(*usecase.Forwarded)) *fixture {
	t.Helper()
	f := newFixture(t)
	forwarded := usecase.Forwarded{
		EventID: eventID, Recipient: recipient, Cc: []string{"binh@example.com"}, ReplyTo: "help@smap.example",
		Subject: "Mã xác minh", HTML: "<p>123456</p>", ExpiresAt: expiresAt,
	}
	for _, c := range change {
		c(&forwarded)
	}
	f.mail = notification.Mail{
		To: recipient, Cc: []string{"binh@example.com"}, ReplyTo: "help@smap.example",
		Content: notification.Content{Subject: "Mã xác minh", HTML: "<p>123456</p>"},
	}
	if forwarded.EventID != "" {
		f.mail.MessageID = messageID
	}
	f.deliver = func(ctx context.Context) error { return f.sender.Forward(ctx, forwarded) }
	return f
}

func unnamed(f *usecase.Forwarded) { f.EventID = "" }

func undated(f *usecase.Forwarded) { f.ExpiresAt = time.Time{} }

// counts expects one try, counted as failed at where, or as accepted.
func (f *fixture) counts(where string) {
	if where == "" {
		f.observer.EXPECT().MailAccepted()
	} else {
		f.observer.EXPECT().MailFailed(where)
	}
}

func TestForward(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once", func(t *testing.T) {
		t.Parallel()
		f := newForwarding(t)
		f.conversation(func(ctx context.Context, accepted accept) error {
			require.Equal(t, notification.StateSending, f.entry().State, "claimed and committed before the conversation begins")
			require.NoError(t, says250(ctx, accepted))
			require.Equal(t, notification.StateAccepted, f.entry().State, "recorded before the conversation ends")
			return nil
		})
		f.counts("")
		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, messageID, f.entry().MessageID)
		f.requireOutcome(event.Ack, event.DropDuplicate)
	})

	t.Run("returns what a failure means", func(t *testing.T) {
		t.Parallel()
		for class, test := range map[notification.Class]struct {
			where   string
			action  event.Action
			outcome string
			state   notification.State
		}{
			notification.ClassTemporary: {"smtp_rcpt_450", event.Retry, "retry", notification.StateSending},
			notification.ClassAmbiguous: {"smtp_end_of_data", event.Retry, "retry", notification.StateSending},
			notification.ClassRejected:  {"smtp_rcpt_550", event.Dead, event.ReasonRejected, notification.StateFailed},
			notification.ClassInvalid:   {"smtp_message", event.Dead, event.ReasonInvalid, notification.StateFailed},
		} {
			t.Run(string(class)+", with an id", func(t *testing.T) {
				t.Parallel()
				f := newForwarding(t)
				f.conversation(fails(class, test.where))
				f.counts(test.where)
				decision := f.requireOutcome(test.action, test.outcome)
				require.Equal(t, test.where, decision.Headers[event.HeaderError])
				require.Equal(t, test.state, f.entry().State)
			})
			t.Run(string(class)+", without", func(t *testing.T) {
				t.Parallel()
				f := newForwarding(t, unnamed, undated)
				f.conversation(fails(class, test.where))
				f.counts(test.where)
				if class == notification.ClassAmbiguous {
					f.observer.EXPECT().MailRepeated()
				}
				decision := f.requireOutcome(test.action, test.outcome)
				require.Equal(t, test.where, decision.Headers[event.HeaderError])
				require.Empty(t, f.entries)
			})
		}
	})

	t.Run("repeats an ambiguous mail once", func(t *testing.T) {
		t.Parallel()
		f := newForwarding(t)
		f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data")).Times(2)
		f.observer.EXPECT().MailFailed("smtp_end_of_data").Times(2)
		f.observer.EXPECT().MailRepeated()
		f.requireOutcome(event.Retry, "retry")
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
	})

	t.Run("drops an expired mail", func(t *testing.T) {
		t.Parallel()
		f := newForwarding(t)
		f.clock.now = expiresAt
		f.failures = 1
		f.requireOutcome(event.Retry, "retry") // the drop could not be recorded
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
		require.Equal(t, notification.StateExpired, f.entry().State)
		f.requireOutcome(event.Ack, event.DropExpired) // not counted again

		f = newForwarding(t, unnamed)
		f.clock.now = expiresAt
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
		require.Empty(t, f.entries)
	})

	t.Run("sends a mail until it expires", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct {
			now    time.Time
			change []func(*usecase.Forwarded)
		}{
			"the last moment":             {expiresAt.Add(-time.Microsecond), nil},
			"the last moment, without id": {expiresAt.Add(-time.Microsecond), []func(*usecase.Forwarded){unnamed}},
			"not known":                   {expiresAt.AddDate(1, 0, 0), []func(*usecase.Forwarded){undated}},
			"not known, without id":       {expiresAt.AddDate(1, 0, 0), []func(*usecase.Forwarded){undated, unnamed}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newForwarding(t, test.change...)
				f.clock.now = test.now
				f.conversation(says250)
				f.counts("")
				f.requireOutcome(event.Ack, "handled")
			})
		}
	})

	// A copy of the previous release has no key for an entry.
	t.Run("sends a mail without an id without the ledger", func(t *testing.T) {
		t.Parallel()
		f := newForwarding(t, unnamed, undated)
		f.failures = math.MaxInt // the database is unavailable
		for range 2 {
			f.conversation(says250)
			f.counts("")
			f.requireOutcome(event.Ack, "handled")
		}
		require.Empty(t, f.entries)
	})

	t.Run("stores a mail without an id once it was moved", func(t *testing.T) {
		t.Parallel()
		f := newForwarding(t, unnamed, undated)
		f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data"))
		f.counts("smtp_end_of_data")
		f.observer.EXPECT().MailRepeated()
		decision := f.requireOutcome(event.Retry, "retry")

		id := event.Message{}.Moved("identity.legacy.retry.1s", decision.Headers).ID
		f.deliver = func(ctx context.Context) error {
			return f.sender.Forward(ctx, usecase.Forwarded{
				EventID: id, Recipient: recipient, Cc: f.mail.Cc, ReplyTo: f.mail.ReplyTo,
				Subject: f.mail.Subject, HTML: f.mail.HTML,
			})
		}
		f.mail.MessageID = id + "@smap.example"
		f.conversation(says250)
		f.counts("")
		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, notification.StateAccepted, f.entries[id].State)
		f.requireOutcome(event.Ack, event.DropDuplicate)
	})

	// A shutdown requeues what it has cut off. That queue can be the previous release's, whose consumers have no ledger: a
	// mail that may be out must not go there.
	t.Run("does not requeue a mail that may be out", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string][]func(*usecase.Forwarded){"with an id": nil, "without": {unnamed, undated}} {
			for class, action := range map[notification.Class]event.Action{
				notification.ClassTemporary: event.Requeue, notification.ClassAmbiguous: event.Retry,
			} {
				t.Run(name+", "+string(class), func(t *testing.T) {
					t.Parallel()
					f := newForwarding(t, change...)
					ctx, stop := context.WithCancel(context.Background())
					f.conversation(func(ctx context.Context, _ accept) error {
						stop()
						return &notification.SendError{Class: class, Where: "smtp_somewhere", Err: ctx.Err()}
					})
					f.counts("smtp_somewhere")
					if change != nil && class == notification.ClassAmbiguous {
						f.observer.EXPECT().MailRepeated()
					}
					decision := f.decide(f.deliver(ctx), true)
					require.Equal(t, action, decision.Action)
					if action == event.Retry {
						require.Equal(t, "smtp_somewhere", decision.Headers[event.HeaderError])
					}
				})
			}
		}
	})

	t.Run("returns an unknown error of the mailer as it is", func(t *testing.T) {
		t.Parallel()
		errMailer := errors.New("the mailer broke")
		for name, change := range map[string][]func(*usecase.Forwarded){"with an id": nil, "without": {unnamed, undated}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newForwarding(t, change...)
				f.mailer.EXPECT().Send(outside, f.mail, gomock.Any()).Return(errMailer)
				err := f.deliver(context.Background())
				require.ErrorIs(t, err, errMailer)
				require.Equal(t, event.Retry, f.decide(err, false).Action)
			})
		}
	})
}
