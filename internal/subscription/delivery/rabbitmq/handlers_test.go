package rabbitmq_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/delivery/rabbitmq"
)

type projection struct {
	err      error
	mirrored []subscription.State
}

func (p *projection) MirrorState(_ context.Context, s subscription.State) error {
	p.mirrored = append(p.mirrored, s)
	return p.err
}

func handlers(p *projection) *event.Router {
	r := event.NewRouter()
	r.On(event.SubscriptionCreated, rabbitmq.Created(p))
	r.On(event.SubscriptionCancelled, rabbitmq.Cancelled(p))
	r.On(event.SubscriptionStatusChanged, rabbitmq.StatusChanged(p))
	return r
}

// dispatch encodes e and dispatches it, as a broker does.
func dispatch(t *testing.T, p *projection, e event.Event) error {
	m, err := event.Encode(e)
	require.NoError(t, err)
	return handlers(p).Dispatch(context.Background(), event.Delivery{Message: m})
}

func TestHandlers(t *testing.T) {
	t.Parallel()
	t.Run("mirror the state of every event", func(t *testing.T) {
		t.Parallel()
		until := time.Date(2026, 2, 14, 9, 30, 0, 123456000, time.UTC)
		at := time.Date(2026, 1, 31, 9, 30, 0, 123000000, time.UTC)
		want := func(status subscription.Status, until *time.Time) subscription.State {
			return subscription.State{
				UserID: "user-1", Version: 3, SubscriptionID: "sub-1", PlanCode: "free", Status: status,
				EffectiveUntil: until, UpdatedAt: at,
			}
		}
		tests := []struct {
			key  event.RoutingKey
			data event.Payload
			want subscription.State
		}{
			{event.SubscriptionCreated, event.SubscriptionCreatedData{
				Version: 3, SubscriptionID: "sub-1", UserID: "user-1", PlanCode: "free", Status: "trialing", EffectiveUntil: &until,
			}, want(subscription.StatusTrialing, &until)},
			{event.SubscriptionCancelled, event.SubscriptionCancelledData{
				Version: 3, SubscriptionID: "sub-1", UserID: "user-1", PlanCode: "free", PreviousStatus: "trialing",
				NewStatus: "cancelled", EffectiveUntil: &until,
			}, want(subscription.StatusCancelled, &until)},
			{event.SubscriptionStatusChanged, event.SubscriptionStatusChangedData{
				Version: 3, SubscriptionID: "sub-1", UserID: "user-1", PlanCode: "free", PreviousStatus: "trialing", NewStatus: "active",
			}, want(subscription.StatusActive, nil)},
		}
		for _, tt := range tests {
			t.Run(string(tt.key), func(t *testing.T) {
				t.Parallel()
				p := &projection{}
				require.NoError(t, dispatch(t, p, event.Event{ID: "evt_1", Key: tt.key, Time: at, Data: tt.data}))
				require.Equal(t, []subscription.State{tt.want}, p.mirrored)
			})
		}
	})
	t.Run("return the use case's error", func(t *testing.T) {
		t.Parallel()
		p := &projection{err: errors.New("redis is unavailable")}
		err := dispatch(t, p, event.Event{ID: "evt_1", Key: event.SubscriptionCreated, Data: event.SubscriptionCreatedData{
			Version: 1, SubscriptionID: "sub-1", UserID: "user-1", PlanCode: "free", Status: "trialing",
		}})
		require.ErrorIs(t, err, p.err)
	})
	t.Run("dead-letter an event without a required field", func(t *testing.T) {
		t.Parallel()
		p := &projection{}
		r := handlers(p)
		for _, key := range []event.RoutingKey{event.SubscriptionCreated, event.SubscriptionCancelled, event.SubscriptionStatusChanged} {
			err := r.Dispatch(context.Background(), event.Delivery{Message: event.Message{
				RoutingKey: string(key), Body: []byte(`{"event_id":"evt_1","payload":{"data":{"user_id":"user-1"}}}`),
			}})
			require.ErrorContains(t, err, "version", key)
			got := event.Decide(err, event.Delivery{}, event.Policy{}, false, time.Now())
			require.Equal(t, event.Dead, got.Action)
			require.Equal(t, event.ReasonInvalid, got.Outcome)
		}
		require.Empty(t, p.mirrored)
	})
}
