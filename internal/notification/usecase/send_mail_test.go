package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// newWritten is a fixture whose event is a mail that was written elsewhere; no Renderer is expected.
func newWritten(t *testing.T, expiresAt time.Time) *fixture {
	t.Helper()
	f := newFixture(t)
	written := notification.Mail{
		To:      recipient,
		Cc:      []string{"binh@example.com"},
		ReplyTo: "help@smap.example",
		Content: notification.Content{Subject: "Mã xác minh", HTML: "<p>123456</p>"},
	}
	f.mail = written
	f.mail.MessageID = messageID
	f.deliver = func(ctx context.Context) error { return f.sender.SendMail(ctx, eventID, written, expiresAt) }
	return f
}

// counts expects one try, counted as failed at where, or as accepted.
func (f *fixture) counts(where string) {
	if where == "" {
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
	} else {
		f.observer.EXPECT().MailFailed(where)
	}
}

func TestSendMail(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once", func(t *testing.T) {
		t.Parallel()
		f := newWritten(t, expiresAt)
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
			t.Run(string(class), func(t *testing.T) {
				t.Parallel()
				f := newWritten(t, expiresAt)
				f.conversation(fails(class, test.where))
				f.counts(test.where)
				decision := f.requireOutcome(test.action, test.outcome)
				require.Equal(t, test.where, decision.Headers[event.HeaderError])
				require.Equal(t, test.state, f.entry().State)
			})
		}
	})

	t.Run("repeats an ambiguous mail once, and one with a code twice", func(t *testing.T) {
		t.Parallel()
		for expires, repeats := range map[time.Time]int{{}: 1, expiresAt: 2} {
			f := newWritten(t, expires)
			f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data")).Times(1 + repeats)
			f.observer.EXPECT().MailFailed("smtp_end_of_data").Times(1 + repeats)
			f.observer.EXPECT().MailRepeated().Times(repeats)
			for range repeats {
				f.requireOutcome(event.Retry, "retry")
				f.clock.now = f.clock.now.Add(2 * time.Minute)
			}
			f.requireOutcome(event.Dead, event.ReasonAmbiguous)
			f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		}
	})

	t.Run("drops an expired mail", func(t *testing.T) {
		t.Parallel()
		f := newWritten(t, expiresAt)
		f.clock.now = expiresAt
		f.failures = 1
		f.requireOutcome(event.Retry, "retry") // the drop could not be recorded
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
		require.Equal(t, notification.StateExpired, f.entry().State)
		f.requireOutcome(event.Ack, event.DropExpired) // not counted again
	})

	t.Run("sends a mail until it expires", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct{ now, expiresAt time.Time }{
			"the last moment": {expiresAt.Add(-time.Microsecond), expiresAt},
			"not known":       {expiresAt.AddDate(1, 0, 0), time.Time{}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newWritten(t, test.expiresAt)
				f.clock.now = test.now
				f.conversation(says250)
				f.counts("")
				f.requireOutcome(event.Ack, "handled")
			})
		}
	})

	t.Run("returns an unknown error of the mailer as it is", func(t *testing.T) {
		t.Parallel()
		errMailer := errors.New("the mailer broke")
		f := newWritten(t, expiresAt)
		f.conversation(func(context.Context, accept) error { return errMailer })
		err := f.deliver(context.Background())
		require.ErrorIs(t, err, errMailer)
		require.Equal(t, event.Retry, f.decide(err, false).Action)
	})
}
