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

	// The try that holds the mail records its outcome.
	t.Run("leaves a mail to the try that holds it", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		busy := ended(notification.StateSending)
		_, err := busy.Claim(start, lease)
		require.NoError(t, err)
		f.entries[eventID] = busy
		require.NoError(t, f.sender.Supersede(context.Background(), eventID))
		f.clock.now = start.Add(lease - time.Microsecond)
		f.deliver = func(ctx context.Context) error { return expiredInvitation(ctx, f) }
		f.requireOutcome(event.Ack, event.DropExpired)
		require.Equal(t, busy, f.entry())
	})
}
