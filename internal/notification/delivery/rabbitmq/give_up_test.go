package rabbitmq_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification/delivery/rabbitmq"
)

type abandoner struct {
	err   error
	given map[string]string // event id → reason
}

func (a *abandoner) GiveUp(_ context.Context, eventID, reason string) error {
	a.given[eventID] = reason
	return a.err
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	handle := func(a *abandoner, id string, result error) error {
		h := event.Chain(func(context.Context, event.Delivery) error { return result }, rabbitmq.GiveUp(a))
		return h(t.Context(), event.Delivery{Message: event.Message{ID: id}})
	}
	rejected := event.Permanent(event.ReasonRejected, errors.New("550"))
	t.Run("a dead letter's mail is given up, with the reason", func(t *testing.T) {
		t.Parallel()
		a := &abandoner{given: map[string]string{}}
		require.Equal(t, rejected, handle(a, "evt_1", rejected))
		require.Equal(t, map[string]string{"evt_1": event.ReasonRejected}, a.given)
	})
	t.Run("every other end is the sender's own", func(t *testing.T) {
		t.Parallel()
		a := &abandoner{given: map[string]string{}}
		for _, result := range []error{nil, event.Drop(event.DropExpired), errors.New("later")} {
			require.Equal(t, result, handle(a, "evt_1", result))
		}
		require.Equal(t, rejected, handle(a, "", rejected), "a mail without an id has no entry")
		require.Empty(t, a.given)
	})
	t.Run("the mail has the id of the event, whatever that of its message", func(t *testing.T) {
		t.Parallel()
		a := &abandoner{given: map[string]string{}}
		handler := func(_ context.Context, d event.Delivery) error {
			d.Decoded.ID = "evt_2" // as event.Handle does
			return rejected
		}
		for _, id := range []string{"", "message 1"} {
			err := event.Chain(handler, rabbitmq.GiveUp(a))(t.Context(), event.Delivery{Message: event.Message{ID: id}})
			require.Equal(t, rejected, err)
		}
		require.Equal(t, map[string]string{"evt_2": event.ReasonRejected}, a.given)
	})
	t.Run("an event whose mail cannot be given up yet is kept", func(t *testing.T) {
		t.Parallel()
		a := &abandoner{given: map[string]string{}, err: errors.New("the database does not reply")}
		err := handle(a, "evt_1", rejected)
		_, ended := event.Ended(err)
		require.False(t, ended)
		require.ErrorIs(t, err, a.err)
	})
}
