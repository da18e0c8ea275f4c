package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// ended returns an entry whose mail has ended in state.
func ended(state notification.State) notification.Delivery {
	d := notification.NewDelivery(eventID, messageID, start)
	d.State = state
	return d
}

func TestSupersede(t *testing.T) {
	t.Parallel()
	t.Run("keeps the mail from being sent", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.observer.EXPECT().MailDropped(notification.StateSuperseded)
		require.NoError(t, f.sender.Supersede(context.Background(), eventID))
		require.NoError(t, f.sender.Supersede(context.Background(), eventID))
		require.Equal(t, notification.StateSuperseded, f.entry().State)
		f.requireOutcome(event.Ack, event.DropSuperseded)
		f.clock.now = expiresAt
		f.requireOutcome(event.Ack, event.DropSuperseded) // having expired since changes nothing

		f.failures = 1
		require.ErrorIs(t, f.sender.Supersede(context.Background(), "evt_2"), errFire)
	})

	// Progress counts a duplicate as sent, so only a sent mail may be called one, whatever asks for it.
	t.Run("gives a mail that has ended its own reason", func(t *testing.T) {
		t.Parallel()
		for state, want := range map[notification.State]string{
			notification.StateAccepted:   event.DropDuplicate,
			notification.StateExpired:    event.DropExpired,
			notification.StateSuperseded: event.DropSuperseded,
		} {
			f := newFixture(t) // nothing is sent and nothing is counted
			f.renders()
			f.entries[eventID] = ended(state)
			f.requireOutcome(event.Ack, want)
			f.clock.now = expiresAt
			f.requireOutcome(event.Ack, want)
			err := f.sender.Supersede(context.Background(), eventID)
			if want == event.DropSuperseded {
				require.NoError(t, err)
			} else {
				require.Equal(t, event.Drop(want), err)
			}
			require.Equal(t, ended(state).State, f.entry().State)
		}
	})

	// The try that holds the mail records its outcome, unless its process has died: then the event that was kept ends the
	// mail.
	t.Run("waits for the try that holds the mail", func(t *testing.T) {
		t.Parallel()
		for state, drop := range map[notification.State]func(f *fixture) error{
			notification.StateSuperseded: func(f *fixture) error { return f.sender.Supersede(context.Background(), eventID) },
			notification.StateExpired:    func(f *fixture) error { return expiredInvitation(context.Background(), f) },
		} {
			f := newFixture(t)
			busy := ended(notification.StateSending)
			busy.Kind, busy.Recipient = "invitation", []byte("a digest")
			_, err := busy.Claim(start, lease, notification.MaxResends)
			require.NoError(t, err)
			f.entries[eventID] = busy
			f.clock.now = start.Add(lease - time.Second)
			decision := f.decide(drop(f), false)
			require.Equal(t, event.Retry, decision.Action)
			require.Zero(t, decision.Level)
			require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "it does not count as a failed try")
			require.Equal(t, busy, f.entry())

			f.clock.now = start.Add(lease)
			f.observer.EXPECT().MailDropped(state)
			require.Equal(t, event.Ack, f.decide(drop(f), false).Action)
			require.Equal(t, state, f.entry().State)
			require.Equal(t, "ambiguous", f.entry().ErrorClass, "the try may have sent it")
			never, err := f.sender.NeverLeft(context.Background(), eventID)
			require.NoError(t, err)
			require.False(t, never)
		}
	})

	t.Run("knows of an expired mail that no server can have had", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(fails(notification.ClassTemporary, "smtp_rcpt_451"))
		f.observer.EXPECT().MailFailed("smtp_rcpt_451")
		f.requireOutcome(event.Retry, "retry")
		f.clock.now = expiresAt
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		for range 2 { // as often as its event comes
			f.requireOutcome(event.Ack, event.DropExpired)
			never, err := f.sender.NeverLeft(context.Background(), eventID)
			require.NoError(t, err)
			require.True(t, never)
		}
		f.failures = 1
		_, err := f.sender.NeverLeft(context.Background(), eventID)
		require.ErrorIs(t, err, errFire)
	})
}
