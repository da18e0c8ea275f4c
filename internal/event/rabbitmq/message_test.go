package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

func TestToDelivery(t *testing.T) {
	t.Parallel()
	body := func(id string) []byte { return []byte(`{"event_id":"` + id + `"}`) }
	for name, test := range map[string]struct {
		delivery amqp.Delivery
		id       string // what it is known as; empty: it gets an id from us
		class    string // empty: fit
	}{
		"an id":                         {amqp.Delivery{MessageId: "evt_1", Body: body("evt_2")}, "evt_1", ""},
		"an id in the body":             {amqp.Delivery{Body: body("evt_2")}, "evt_2", ""},
		"no id":                         {amqp.Delivery{Body: []byte("no JSON")}, "", ""},
		"255 bytes":                     {amqp.Delivery{Body: body(strings.Repeat("x", 255))}, strings.Repeat("x", 255), ""},
		"256 bytes":                     {amqp.Delivery{Body: body(strings.Repeat("x", 256))}, "", "id_too_long"},
		"256 bytes, no payload":         {amqp.Delivery{Body: []byte(`{"event_id":"` + strings.Repeat("x", 256) + `","payload":7}`)}, "", "id_too_long"},
		"an id with ESC and a line end": {amqp.Delivery{MessageId: "a\x1b[31m\n"}, "", "id_not_text"},
		"an id that is not UTF-8":       {amqp.Delivery{MessageId: "a\xff"}, "", "id_not_text"},
		"NUL in the body's id":          {amqp.Delivery{Body: body(`a\u0000b`)}, "", "id_not_text"},
		"a C1 control":                  {amqp.Delivery{Body: body(`a\u009bb`)}, "", "id_not_text"},
		"a lone surrogate":              {amqp.Delivery{Body: body(`a\ud800b`)}, "", "id_not_text"},
		"bytes that are not UTF-8":      {amqp.Delivery{Body: body("a\xffb")}, "", "id_not_text"},
		"unreadable headers": {
			amqp.Delivery{MessageId: "evt_1", Headers: amqp.Table{rabbitmq.HeaderUnreadable: "nested too deeply"}}, "evt_1", "headers_unreadable",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := ToDelivery(test.delivery)
			require.Equal(t, test.id, d.ID)
			moved := d.Moved("identity.test.dead", nil)
			require.NoError(t, moved.Check(event.MinFrame), "whatever came, it can be published")
			require.NotContains(t, moved.Headers, rabbitmq.HeaderUnreadable, "replayed, it is handled like any other")
			if test.class == "" {
				require.NoError(t, d.Unfit)
				return
			}
			reason, _ := event.Ended(d.Unfit)
			require.Equal(t, event.ReasonInvalid, reason)
			require.Equal(t, test.class, event.ErrorClass(d.Unfit))
			if test.id == "" {
				require.Contains(t, d.Headers[event.HeaderForeignID], " bytes, sha256 ")
				require.True(t, strings.HasPrefix(moved.ID, "evt_"))
			}
		})
	}
}

func TestKeptHeaders(t *testing.T) {
	t.Parallel()
	t.Run("keeps its own headers and bounds the others", func(t *testing.T) {
		t.Parallel()
		headers := amqp.Table{
			event.HeaderAttempts: "3", event.HeaderRoutingKey: strings.Repeat("k", 256), event.HeaderError: "a\x00b",
			"x-own": "kept", "n": int64(7), "large": strings.Repeat("v", 2000), "table": amqp.Table{"k": "v"}, "x-death": []any{},
			strings.Repeat("n", 255): "",
		}
		for i := range 9000 {
			headers[fmt.Sprintf("foreign-%d", i)] = strings.Repeat("v", 200)
		}
		m := ToMessage(amqp.Delivery{RoutingKey: "project.created", Headers: headers})
		require.Equal(t, "project.created", m.RoutingKey, "the key it was published with")
		require.Equal(t, "3", m.Headers[event.HeaderAttempts])
		require.Equal(t, "kept", m.Headers["x-own"])
		require.Equal(t, "7", m.Headers["n"])
		for _, dropped := range []string{event.HeaderRoutingKey, event.HeaderError, "large", "table", "x-death"} {
			require.NotContains(t, m.Headers, dropped)
		}
		require.Less(t, len(m.Headers), 20)
		require.Equal(t, m, ToMessage(amqp.Delivery{RoutingKey: "project.created", Headers: headers}), "the same each time")
	})
}

func TestMovement(t *testing.T) {
	t.Parallel()
	stop, m := context.Background(), event.Message{ID: "evt_1"}
	t.Run("only the message's own fault counts", func(t *testing.T) {
		t.Parallel()
		results := []error{
			event.ErrUnavailable, event.ErrRefused, event.ErrRejected, event.ErrUnroutable, event.ErrRejected, event.ErrRefused,
			event.ErrUnavailable, event.ErrRejected,
		}
		tried := 0
		require.Equal(t, Unmovable, Move(stop, stop, senderFunc(func(event.Message) error { tried++; return results[tried-1] }), m, options("", "").Log))
		require.Len(t, results, tried)
	})
	t.Run("a queue that is full again and again takes it in the end", func(t *testing.T) {
		t.Parallel()
		tried := 0
		full := senderFunc(func(event.Message) error {
			if tried++; tried < 6 {
				return event.ErrRefused
			}
			return nil
		})
		require.Equal(t, Moved, Move(stop, stop, full, m, options("", "").Log))
	})
}

func TestWorkerMoves(t *testing.T) {
	t.Parallel()
	failing := func(context.Context, event.Delivery) error { return errors.New("again") }
	t.Run("what cannot be moved is left to the dead-letter exchange", func(t *testing.T) {
		t.Parallel()
		w, _, _ := fakeWorker(t, failing)
		w.options.Sender = senderFunc(func(event.Message) error { return event.ErrRejected })
		ch := &fakeChannel{}
		w.handle(context.Background(), context.Background(), delivered(ch, "evt_a", 1, false))
		require.Equal(t, []uint64{1}, ch.rejected)
		require.Empty(t, ch.acked)
		require.Empty(t, ch.requeued)
		require.Zero(t, w.unsettled.longest(time.Now().Add(time.Hour)))
	})
	t.Run("unfit messages reach no handler", func(t *testing.T) {
		t.Parallel()
		w, _, calls := fakeWorker(t, failing)
		handle := w.consumer.Handle
		w.consumer.Handle = event.Limit(w.consumer.Queue.Retry, time.Now)(handle)
		w.options.Sender = senderFunc(func(event.Message) error { return nil })
		ch := &fakeChannel{}
		w.handle(context.Background(), context.Background(), delivered(ch, "a\x00b", 1, false))
		require.Equal(t, []uint64{1}, ch.acked)
		require.Zero(t, *calls)
	})
	t.Run("one that waits over a minute for its move makes the consumer not ready", func(t *testing.T) {
		t.Parallel()
		w, _, _ := fakeWorker(t, failing)
		now := time.Now()
		w.options.Now = func() time.Time { return now }
		c := &Consumer{workers: []*worker{w}}
		require.False(t, c.Consuming())
		w.fed.Store(true)
		end := w.unsettled.begin(now)
		now = now.Add(time.Minute)
		require.True(t, c.Consuming())
		now = now.Add(time.Second)
		require.EqualError(t, c.Err(), "q: a finished message has waited 1m1s to be moved and acked")
		require.False(t, c.Consuming())
		end()
		require.True(t, c.Consuming())
	})
}
