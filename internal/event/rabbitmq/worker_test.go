package rabbitmq

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

// fakeChannel remembers what was acked and given back on it.
type fakeChannel struct {
	amqp.Acknowledger
	acked, requeued, rejected []uint64
	gone                      bool
}

func (c *fakeChannel) Ack(tag uint64, _ bool) error {
	if c.gone {
		return amqp.ErrClosed
	}
	c.acked = append(c.acked, tag)
	return nil
}

func (c *fakeChannel) Nack(tag uint64, _, requeue bool) error {
	switch {
	case c.gone:
		return amqp.ErrClosed
	case !requeue:
		c.rejected = append(c.rejected, tag)
		return nil
	}
	c.requeued = append(c.requeued, tag)
	return nil
}

// fakeWorker handles deliveries without a broker; calls counts the handler's runs.
func fakeWorker(t *testing.T, handle func(context.Context, event.Delivery) error) (w *worker, stale, calls *int) {
	t.Helper()
	stale, calls = new(int), new(int)
	w = newWorker(ConsumerOptions{Now: time.Now, StaleAck: func(string) { *stale++ }}, event.Consumer{
		Queue: event.Queue{Name: "q", Retry: event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}},
		Handle: func(ctx context.Context, d event.Delivery) error {
			*calls++
			return handle(ctx, d)
		},
		Observer: eventtest.NewObserver(),
	})
	return w, stale, calls
}

func delivered(ch *fakeChannel, id string, tag uint64, redelivered bool) job {
	return job{
		Delivery: amqp.Delivery{Acknowledger: ch, MessageId: id, DeliveryTag: tag, Redelivered: redelivered},
		life:     context.Background(),
		ended:    closedChannel(),
	}
}

func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestWorker(t *testing.T) {
	t.Parallel()
	t.Run("an ack whose channel has gone is counted and remembered", func(t *testing.T) {
		t.Parallel()
		older, newer := &fakeChannel{}, &fakeChannel{}
		w, stale, calls := fakeWorker(t, func(context.Context, event.Delivery) error {
			older.gone = true // the connection is replaced while the handler runs
			return nil
		})
		ctx := context.Background()
		w.handle(ctx, ctx, delivered(older, "evt_a", 1, false))
		require.Empty(t, older.acked)
		require.Equal(t, 1, *stale)

		w.handle(ctx, ctx, delivered(newer, "evt_b", 1, true))
		require.Equal(t, []uint64{1}, newer.acked, "the message that really has tag 1")
		w.handle(ctx, ctx, delivered(newer, "evt_a", 2, true))
		require.Equal(t, []uint64{1, 2}, newer.acked)
		require.Equal(t, 2, *calls, "finished work is acked when it is handed out again, not done again")

		w.handle(ctx, ctx, delivered(newer, "evt_a", 3, true))
		require.Equal(t, 3, *calls, "remembered for one redelivery only")
		require.Equal(t, 1, *stale)
	})
	t.Run("a delivery that cannot be given back is counted", func(t *testing.T) {
		t.Parallel()
		w, stale, _ := fakeWorker(t, func(context.Context, event.Delivery) error { return context.Canceled })
		stop, end := context.WithCancel(context.Background())
		end()
		ch := &fakeChannel{}
		w.handle(stop, context.Background(), delivered(ch, "evt_a", 1, false))
		require.Equal(t, []uint64{1}, ch.requeued)
		require.Zero(t, *stale)
		w.handle(stop, context.Background(), delivered(&fakeChannel{gone: true}, "evt_a", 1, false))
		require.Equal(t, 1, *stale)
	})
	t.Run("a paused lane gives a message back once its consumer has ended", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w, _, calls := fakeWorker(t, func(context.Context, event.Delivery) error { return event.Blocked(errors.New("down")) })
			w.consumer.Lane = event.NewLane("q", event.DefaultProbing, time.Now, nil)
			stop, end := context.WithCancel(t.Context())
			ended := make(chan struct{})
			ch := &fakeChannel{}
			for tag := range uint64(2) {
				j := delivered(ch, "evt", tag, false)
				j.ended = ended
				go w.handle(stop, t.Context(), j)
				synctest.Wait()
			}
			require.Equal(t, 1, *calls, "the second is not begun")
			require.Empty(t, ch.requeued, "the broker would hand it to us again at once")
			close(ended)
			synctest.Wait()
			require.Equal(t, []uint64{1}, ch.requeued, "the first probes")
			end()
			synctest.Wait()
			require.Equal(t, []uint64{1, 0}, ch.requeued, "a stop gives the probe back")
		})
	})
	t.Run("a copy without an id is never taken for another", func(t *testing.T) {
		t.Parallel()
		w, _, calls := fakeWorker(t, func(context.Context, event.Delivery) error { return nil })
		ctx := context.Background()
		w.handle(ctx, ctx, delivered(&fakeChannel{gone: true}, "", 1, false))
		ch := &fakeChannel{}
		another := delivered(ch, "", 1, true)
		another.Body = []byte("another")
		w.handle(ctx, ctx, another)
		require.Equal(t, 2, *calls)
		w.handle(ctx, ctx, delivered(ch, "", 2, true))
		require.Equal(t, 2, *calls, "this one is known by its body")
	})
}

// staleAck shows on a real broker that an ack reaches no other message: A's handler outlives its connection, B gets A's delivery tag.
func staleAck(t *testing.T) {
	q := newQueue(t, 1, 10)
	declare(t, q)
	proxy, url := startProxy(t)
	raw := rawChannel(t)
	begun, finish := make(chan string, 10), make(chan struct{})
	var mu sync.Mutex
	calls := map[string]int{}
	r := startConsumer(t, url, startPublisher(t, brokerURL(t), q), time.Minute, q, func(_ context.Context, d event.Delivery) error {
		mu.Lock()
		calls[d.ID]++
		mu.Unlock()
		begun <- d.ID
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	})
	publishRaw(t, raw, messageTo(q, "A"))
	require.Equal(t, "A", eventtest.Next(t, begun))

	proxy.Stop()
	a := rawGet(t, raw, q.Name) // A is with us, so that the consumer's next connection begins with B
	require.Equal(t, "A", a.MessageId)
	publishRaw(t, raw, messageTo(q, "B"))
	require.NoError(t, proxy.Start())
	require.Eventually(t, func() bool { return ready(t, raw, q.Name) == 0 }, 15*time.Second, 10*time.Millisecond)

	finish <- struct{}{} // the old handler ends; its ack would delete B
	require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
	require.Equal(t, "B", eventtest.Next(t, begun))
	proxy.Stop()
	b := rawGet(t, raw, q.Name)
	require.Equal(t, "B", b.MessageId, "B was not acked by anybody")
	require.EqualValues(t, 1, r.stale.Load())
	finish <- struct{}{}
	require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
	require.EqualValues(t, 2, r.stale.Load())

	require.NoError(t, raw.Nack(b.DeliveryTag, true, true)) // both
	require.NoError(t, proxy.Start())
	for range 2 {
		require.Equal(t, event.DropDuplicate, eventtest.Next(t, r.Seen).Decision.Outcome)
	}
	r.stop(t)
	require.Equal(t, map[string]int{"A": 1, "B": 1}, calls, "finished work is not done again")
	_, more, err := raw.Get(q.Name, false)
	require.NoError(t, err)
	require.False(t, more)
}

// publishRaw publishes and waits for the broker to have it.
func publishRaw(t testing.TB, ch *amqp.Channel, messages ...event.Message) {
	t.Helper()
	require.NoError(t, ch.Confirm(false))
	for _, m := range messages {
		confirm, err := ch.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, true, false, ToPublishing(m))
		require.NoError(t, err)
		require.True(t, confirm.Wait())
	}
}
