package rabbitmq

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// Whatever a message comes with, it can be moved: to a retry queue, to its dead queue, and from there to where it came.
func FuzzDelivery(f *testing.F) {
	f.Add("evt_1", "x-own", "value", int64(1), []byte(`{"event_id":"evt_2"}`))
	f.Add("", "x-moves", "1\x00", int64(-1), []byte(`{"event_id":"a\u0000b"}`))
	f.Add("\xff", "x-death", strings.Repeat("x", 5000), int64(1<<62), []byte(`{"event_id":7`))
	f.Add(strings.Repeat("x", 255), "x-first-failed-at", strings.Repeat("y", 255), int64(0), []byte(nil))
	f.Add("a", strings.Repeat("n", 255), strings.Repeat("v", 800), int64(0), []byte("null"))
	f.Add("a", "x-routing-key", "", int64(0), []byte("[]"))
	f.Add("", "x-routing-key", strings.Repeat("k", 256), int64(0), []byte(`{"event_id":"`+strings.Repeat("x", 256)+`","payload":7}`))
	f.Fuzz(func(t *testing.T, id, name, value string, count int64, body []byte) {
		id, name = id[:min(len(id), 255)], name[:min(len(name), 255)] // AMQP has no longer ones
		if name == rabbitmq.HeaderUnreadable {
			return // the filter's, on what it has cut
		}
		d := amqp.Delivery{MessageId: id, RoutingKey: "key", Body: body, Headers: amqp.Table{
			name: value, name + "2": value, "x-delivery-count": count, "x-table": amqp.Table{"k": value}, "x-count": count, "x-bytes": []byte(value),
		}}
		got := ToDelivery(d)
		require.NoError(t, event.CheckID(got.ID))
		switch {
		case got.Unfit != nil:
			require.Empty(t, got.ID)
			require.NotEmpty(t, got.Headers[event.HeaderForeignID])
		case id != "":
			require.Equal(t, id, got.ID)
		default:
			require.Equal(t, event.BodyID(body), got.ID)
		}
		require.Equal(t, int(count), got.HandedOut)
		require.Equal(t, body, got.Body)
		for name := range got.Headers {
			require.False(t, brokerHeader(name))
		}
		moved := got.Moved("queue", map[string]string{event.HeaderRoutingKey: got.RoutingKey, event.HeaderMoves: "1"})
		if len(name) < 255 {
			require.NoError(t, moved.Check(event.MinFrame))
		}
		require.NotEmpty(t, moved.ID)
		require.Equal(t, got.RoutingKey, moved.Arrived().RoutingKey)

		published := ToPublishing(moved)
		require.NoError(t, published.Headers.Validate())
		back := ToDelivery(amqp.Delivery{MessageId: published.MessageId, RoutingKey: "queue", Headers: published.Headers, Body: published.Body})
		require.NoError(t, back.Unfit)
		require.Equal(t, moved.ID, back.ID)
		require.Equal(t, got.RoutingKey, back.RoutingKey)
		require.Equal(t, moved.CameUnnamed(), back.CameUnnamed())
	})
}
