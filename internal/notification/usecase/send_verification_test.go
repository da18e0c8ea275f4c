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
	"github.com/smap-platform/identity/internal/notification/usecase"
)

func TestSendVerification(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(time.Second)
		gomock.InOrder(
			f.renderer.EXPECT().Verification("vi", code, f.clock.now, expiresAt).Return(content, nil),
			f.conversation(func(ctx context.Context, accepted accept) error {
				require.Equal(t, notification.StateSending, f.entry().State, "claimed and committed before the conversation begins")
				require.Equal(t, f.clock.now.Add(lease), *f.entry().LeaseUntil)
				require.NoError(t, says250(ctx, accepted))
				require.Equal(t, notification.StateAccepted, f.entry().State, "recorded before the conversation ends")
				return nil
			}),
		)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, 1, f.entry().Attempts)
		require.Equal(t, messageID, f.entry().MessageID)

		f.renders() // a duplicate of the event: no mail, no count
		f.requireOutcome(event.Ack, event.DropDuplicate)
	})

	t.Run("retries a temporary failure", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		gomock.InOrder(
			f.conversation(fails(notification.ClassTemporary, "smtp_rcpt_450")),
			f.observer.EXPECT().MailFailed("smtp_rcpt_450"),
			f.conversation(says250),
			f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient), // and no MailRepeated
		)
		decision := f.requireOutcome(event.Retry, "retry")
		require.Equal(t, "1", decision.Headers[event.HeaderAttempts], "it counts as a try")
		require.Equal(t, "smtp_rcpt_450", decision.Headers[event.HeaderError])
		require.Equal(t, notification.StateSending, f.entry().State)
		require.Nil(t, f.entry().LeaseUntil, "released: the next try need not wait for the lease")
		require.Equal(t, "smtp_rcpt_450", f.entry().ErrorClass)

		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, 2, f.entry().Attempts)
	})

	t.Run("dead-letters a refused mail", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(fails(notification.ClassRejected, "smtp_rcpt_550"))
		f.observer.EXPECT().MailFailed("smtp_rcpt_550")
		for _, delivery := range []string{"the first", "delivered again, because it could not be moved to the dead letters"} {
			decision := f.requireOutcome(event.Dead, event.ReasonRejected)
			require.Equal(t, "smtp_rcpt_550", decision.Headers[event.HeaderError], delivery)
			require.Equal(t, notification.StateFailed, f.entry().State, delivery)
		}
	})

	t.Run("dead-letters an unusable mail", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(fails(notification.ClassInvalid, "smtp_message"))
		f.observer.EXPECT().MailFailed("smtp_message")
		for range 2 {
			f.requireOutcome(event.Dead, event.ReasonInvalid)
			require.Equal(t, notification.StateFailed, f.entry().State)
		}
	})

	// Two cuts one second apart do not end a code.
	t.Run("repeats an ambiguous code after half a minute and after two", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		const where = "smtp_end_of_data"
		f.conversation(fails(notification.ClassAmbiguous, where)).Times(3)
		f.observer.EXPECT().MailFailed(where).Times(3)
		f.observer.EXPECT().MailRepeated().Times(2)
		for _, wait := range []time.Duration{30 * time.Second, 2 * time.Minute} {
			decision := f.requireOutcome(event.Retry, "retry")
			require.Equal(t, where, decision.Headers[event.HeaderError])
			require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "it does not count as a failed try")
			require.Equal(t, wait, policy.Levels[decision.Level])

			f.clock.now = f.clock.now.Add(wait - time.Microsecond)
			f.requireOutcome(event.Retry, "retry") // too early: nothing is sent
			f.clock.now = f.clock.now.Add(time.Microsecond)
		}
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		require.Equal(t, notification.StateFailed, f.entry().State)
		require.Equal(t, 2, f.entry().Resends)
		f.requireOutcome(event.Dead, event.ReasonAmbiguous) // delivered again: a fourth mail is an operator's decision
	})

	// A process that is killed while it sends leaves only its lease.
	t.Run("repeats a vanished try twice", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		killed := func(context.Context, accept) error { panic("killed") }
		f.conversation(killed).Times(3)
		f.observer.EXPECT().MailRepeated().Times(2)
		for range 3 {
			require.Panics(t, func() { _ = f.deliver(context.Background()) })
			f.clock.now = f.clock.now.Add(lease)
		}
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		require.Equal(t, notification.StateFailed, f.entry().State)
	})

	t.Run("waits for a try that is under way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.clock.now = start.Add(20 * time.Second)
			err := f.deliver(ctx) // a duplicate, meanwhile
			var busy *notification.BusyError
			require.ErrorAs(t, err, &busy)
			require.Equal(t, 40*time.Second, busy.Wait)
			decision := f.decide(err, false)
			require.Equal(t, event.Retry, decision.Action)
			require.Equal(t, 30*time.Second, policy.Levels[decision.Level], "the longest that does not overshoot")
			require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "it does not count as a try")
			return says250(ctx, accepted)
		})
		f.requireOutcome(event.Ack, "handled")
	})

	t.Run("drops an expired code", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t) // no Renderer and no Mailer is expected
		f.clock.now = expiresAt
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
		require.Equal(t, notification.StateExpired, f.entry().State)
		f.requireOutcome(event.Ack, event.DropExpired) // a duplicate is not counted again
	})

	t.Run("never expires an accepted mail", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(says250)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient) // and no MailDropped
		f.requireOutcome(event.Ack, "handled")
		f.clock.now = expiresAt
		f.requireOutcome(event.Ack, event.DropDuplicate)
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})

	t.Run("retries a drop that cannot be recorded", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = expiresAt
		f.failures = 1
		f.requireOutcome(event.Retry, "retry")
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
	})

	t.Run("requeues what a shutdown cut off", func(t *testing.T) {
		t.Parallel()
		cut := func(class notification.Class, where string, stop context.CancelFunc) func(context.Context, accept) error {
			return func(ctx context.Context, _ accept) error {
				stop()
				return &notification.SendError{Class: class, Where: where, Err: ctx.Err()}
			}
		}
		for name, test := range map[string]struct {
			class  notification.Class
			repeat bool
		}{
			"before the final dot": {notification.ClassTemporary, false},
			"after the final dot":  {notification.ClassAmbiguous, true}, // not as if untouched
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.renders()
				ctx, stop := context.WithCancel(context.Background())
				f.conversation(cut(test.class, "smtp_somewhere", stop))
				f.observer.EXPECT().MailFailed("smtp_somewhere")
				require.Equal(t, event.Requeue, f.decide(f.deliver(ctx), true).Action)
				require.Equal(t, "smtp_somewhere", f.entry().ErrorClass, "recorded although the context has ended")

				if test.repeat {
					f.clock.now = start.Add(30 * time.Second)
					f.observer.EXPECT().MailRepeated()
				}
				f.conversation(says250)
				f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
				f.requireOutcome(event.Ack, "handled") // by the next process, which has no lease to wait for
			})
		}
		t.Run("before it began", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.renders()
			ctx, stop := context.WithCancel(context.Background())
			stop()
			require.Equal(t, event.Requeue, f.decide(f.deliver(ctx), true).Action)
			require.Empty(t, f.entries)
		})
	})

	t.Run("dead-letters a mail that cannot be rendered", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renderer.EXPECT().Verification("vi", code, start, expiresAt).Return(notification.Content{}, errors.New("no such locale"))
		f.requireOutcome(event.Dead, event.ReasonInvalid)
		require.Empty(t, f.entries)
	})

	t.Run("sends nothing without the ledger", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t) // no Mailer is expected
		f.renders()
		f.failures = 1
		err := f.deliver(context.Background())
		require.ErrorIs(t, err, errFire)
		require.Equal(t, event.Retry, f.decide(err, false).Action)
	})

	t.Run("waits for the lease when a failure cannot be recorded", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(func(context.Context, accept) error {
			f.failures = 1
			return &notification.SendError{Class: notification.ClassRejected, Where: "smtp_rcpt_550"}
		})
		f.observer.EXPECT().MailFailed("smtp_rcpt_550")
		decision := f.requireOutcome(event.Retry, "retry")
		require.Equal(t, "smtp_rcpt_550", decision.Headers[event.HeaderError])

		decision = f.requireOutcome(event.Retry, "retry")
		require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "the lease is still there")
		f.clock.now = start.Add(lease)
		f.observer.EXPECT().MailRepeated()
		f.conversation(says250)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
	})

	// A process was paused for longer than its lease, and another has sent the mail. What the first reports when it goes
	// on must not cause another mail.
	t.Run("ignores a late failure of a mail that is accepted", func(t *testing.T) {
		t.Parallel()
		for _, class := range []notification.Class{notification.ClassTemporary, notification.ClassRejected, notification.ClassAmbiguous} {
			t.Run(string(class), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.renders()
				f.conversation(func(ctx context.Context, _ accept) error {
					f.clock.now = start.Add(lease)
					f.conversation(says250)
					f.observer.EXPECT().MailRepeated()
					f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
					require.NoError(t, f.deliver(ctx))
					return &notification.SendError{Class: class, Where: "smtp_late"}
				})
				f.observer.EXPECT().MailFailed("smtp_late")
				f.requireOutcome(event.Retry, "retry")
				require.Equal(t, notification.StateAccepted, f.entry().State)
				f.requireOutcome(event.Ack, event.DropDuplicate)
			})
		}
	})

	t.Run("ignores a late failure while another try holds the mail", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		var other notification.Delivery
		f.conversation(func(context.Context, accept) error {
			f.clock.now = start.Add(lease)
			other = f.entry()
			repeat, err := other.Claim(f.clock.now, lease, notification.MaxCodeResends)
			require.NoError(t, err)
			require.True(t, repeat)
			f.entries[eventID] = other
			return &notification.SendError{Class: notification.ClassTemporary, Where: "smtp_late"}
		})
		f.observer.EXPECT().MailFailed("smtp_late")
		f.requireOutcome(event.Retry, "retry")
		require.Equal(t, other, f.entry())
	})

	// The first try stores the Message-ID, whatever SMTP_FROM is by now.
	t.Run("keeps the Message-ID", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data"))
		f.observer.EXPECT().MailFailed("smtp_end_of_data")
		f.requireOutcome(event.Retry, "retry")

		f.clock.now = start.Add(30 * time.Second)
		f.deps.Domain = "new.example"
		f.sender = usecase.New(f.deps)
		f.conversation(says250) // with messageID, like every conversation
		f.observer.EXPECT().MailRepeated()
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
	})
}
