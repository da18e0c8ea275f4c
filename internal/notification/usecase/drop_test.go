package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// ended is an entry whose mail has ended in state.
func ended(state notification.State) notification.Delivery {
	d := notification.NewDelivery(eventID, messageID, start)
	d.State = state
	return d
}

// Whoever counts mails counts a duplicate as sent, so nothing else may be called one: not by an event that is still of
// use, not by one that has expired, not by one that is no longer wanted.
func TestADropIsAlwaysTheSame(t *testing.T) {
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
}

// Whoever is sending the mail says himself what became of it.
func TestADropLeavesAMailToWhoIsSendingIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	busy := ended(notification.StateSending)
	_, err := busy.Take(start, lease)
	require.NoError(t, err)
	f.entries[eventID] = busy
	require.NoError(t, f.sender.Supersede(context.Background(), eventID))
	f.clock.now = start.Add(lease - time.Microsecond)
	f.deliver = func(ctx context.Context) error { return expiredInvitation(ctx, f) }
	f.requireOutcome(event.Ack, event.DropExpired)
	require.Equal(t, busy, f.entry())
}
