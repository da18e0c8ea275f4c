package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// senderFunc is a Sender made of a function.
type senderFunc func(event.Message) error

func (f senderFunc) Send(_ context.Context, messages []event.Message) []error {
	results := make([]error, len(messages))
	for i, m := range messages {
		results[i] = f(m)
	}
	return results
}

func TestConsumer(t *testing.T) {
	t.Parallel()
	onServer(t, map[string]func(*testing.T){
		"a deleted queue is consumed again":                    deletedQueue,
		"a queue that cannot be consumed harms no other":       strangeQueue,
		"a stale ack reaches no other message":                 staleAck,
		"a lost connection hands out again what was not acked": cutBeforeAck,
		"a crash loop ends in the dead queue":                  crashLoop,
		"a drain gives back once and finishes the rest":        func(t *testing.T) { drainOnce(t, false) },
		"the same, with acks that wait for each other":         func(t *testing.T) { drainOnce(t, true) },
		"a stop while the broker is frozen ends":               stopFrozen,
		"a stop costs a waiting message one hand-out":          givenBackOnce,
		"an unreachable retry level keeps the message":         moveUnavailable,
	})
}

func TestMove(t *testing.T) {
	t.Parallel()
	t.Run("a message is acked only after its move was confirmed", func(t *testing.T) {
		t.Parallel()
		ch := &fakeChannel{}
		w, _, _ := fakeWorker(t, func(context.Context, event.Delivery) error { return errors.New("later") })
		sent := 0
		w.options.Sender = senderFunc(func(m event.Message) error {
			require.Empty(t, ch.acked)
			require.Equal(t, "q.retry.1s", m.RoutingKey)
			if sent++; sent == 1 {
				return event.ErrUnavailable
			}
			return nil
		})
		ctx := context.Background()
		w.handle(ctx, ctx, delivered(ch, "evt_a", 1, false))
		require.Equal(t, 2, sent)
		require.Equal(t, []uint64{1}, ch.acked)
	})
	t.Run("a move that was not carried out is reported as requeued", func(t *testing.T) {
		t.Parallel()
		unreachable := senderFunc(func(event.Message) error { return event.ErrUnavailable })
		failing := func(context.Context, event.Delivery) error { return errors.New("later") }
		ended, end := context.WithCancel(context.Background())
		end()

		t.Run("the process stops", func(t *testing.T) {
			t.Parallel()
			ch := &fakeChannel{}
			w, _, _ := fakeWorker(t, failing)
			w.options.Sender = unreachable
			w.handle(ended, context.Background(), delivered(ch, "evt_a", 1, false))
			require.Empty(t, ch.acked)
			require.Equal(t, []uint64{1}, ch.requeued)
			seen := eventtest.Next(t, w.consumer.Observer.(*eventtest.Observer).Seen)
			require.Equal(t, event.Requeue, seen.Decision.Action)
		})
		t.Run("the connection is gone", func(t *testing.T) {
			t.Parallel()
			ch := &fakeChannel{}
			w, _, _ := fakeWorker(t, failing)
			w.options.Sender = unreachable
			j := delivered(ch, "evt_a", 1, false)
			j.life = ended
			w.handle(context.Background(), context.Background(), j)
			require.Empty(t, ch.acked)
			require.Empty(t, ch.requeued, "the broker hands it out again by itself")
			seen := eventtest.Next(t, w.consumer.Observer.(*eventtest.Observer).Seen)
			require.Equal(t, event.Requeue, seen.Decision.Action)
		})
	})
}

// cutBeforeAck: the consumer is lost while its handler runs, and another one takes over.
func cutBeforeAck(t *testing.T) {
	q := newQueue(t, 1, 10)
	declare(t, q)
	p := startPublisher(t, brokerURL(t), q)
	proxy, url := startProxy(t)
	begun := make(chan string, 10)
	lost := startConsumer(t, url, p, time.Millisecond, q, func(ctx context.Context, d event.Delivery) error {
		begun <- d.ID
		<-ctx.Done()
		return nil // as if it had just been done
	})
	require.Equal(t, []error{nil, nil}, eventtest.SendAll(t, p, messageTo(q, "first"), messageTo(q, "second")))
	require.Equal(t, "first", eventtest.Next(t, begun))
	proxy.Stop()

	other := startConsumer(t, brokerURL(t), p, time.Second, q, func(context.Context, event.Delivery) error { return nil })
	for _, id := range []string{"first", "second"} {
		seen := eventtest.Next(t, other.Seen)
		require.Equal(t, id, seen.Delivery.ID)
		require.Equal(t, 1, seen.Delivery.HandedOut)
		require.Zero(t, seen.Delivery.Attempts())
	}
	lost.stop(t)
	require.EqualValues(t, 1, lost.stale.Load())
}

// crashLoop: processes that take a message and die. The tenth time is the last.
func crashLoop(t *testing.T) {
	q := newQueue(t, 1, 1)
	declare(t, q)
	p := startPublisher(t, brokerURL(t), q)
	die := func(id string, times int) {
		require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, id)))
		for range times {
			conn, err := rabbitmq.Dial(context.Background(), options(brokerURL(t), t.Name()))
			require.NoError(t, err)
			ch, err := conn.Channel()
			require.NoError(t, err)
			require.Equal(t, id, rawGet(t, ch, q.Name).MessageId)
			require.NoError(t, conn.CloseDeadline(time.Now().Add(time.Second)))
		}
	}
	die("nine", event.CrashLoopLimit-1)
	r := startConsumer(t, brokerURL(t), p, time.Second, q, event.Chain(func(_ context.Context, d event.Delivery) error {
		require.NotEqual(t, "ten", d.ID, "it must not get to its handler any more")
		return nil
	}, event.Limit(q.Retry, time.Now)))
	require.Equal(t, "handled", eventtest.Next(t, r.Seen).Decision.Outcome)
	r.stop(t)

	die("ten", event.CrashLoopLimit)
	r = startConsumer(t, brokerURL(t), p, time.Second, q, r.workers[0].consumer.Handle)
	seen := eventtest.Next(t, r.Seen)
	require.Equal(t, event.ReasonCrashLoop, seen.Decision.Outcome)
	require.Error(t, seen.Err)
	letters, err := list(t, q.Name, q)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, event.ReasonCrashLoop, letters[0].Reason)
	require.Equal(t, q.Name+".key", letters[0].RoutingKey)
}

// drainOnce stops consumers in the middle of their work, one after the other: what was finished never comes back,
// what was not begun is given back once per stop.
func drainOnce(t *testing.T, repeatable bool) {
	const n, rounds = 120, 4
	q := newQueue(t, 4, 20)
	q.Repeatable = repeatable
	p := startPublisher(t, brokerURL(t), q)
	messages := make([]event.Message, n)
	for i := range messages {
		messages[i] = messageTo(q, fmt.Sprint(i))
	}
	for _, err := range eventtest.SendAll(t, p, messages...) {
		require.NoError(t, err)
	}
	var mu sync.Mutex
	handled := map[string]int{}
	work := func(_ context.Context, d event.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		handled[d.ID]++
		return nil
	}
	for round := range rounds {
		r := startConsumer(t, brokerURL(t), p, time.Minute, q, work)
		want := n / rounds
		if round == rounds-1 {
			mu.Lock()
			want = n - len(handled)
			mu.Unlock()
		}
		for range want {
			seen := eventtest.Next(t, r.Seen)
			require.Equal(t, event.Ack, seen.Decision.Action)
			require.LessOrEqual(t, seen.Delivery.HandedOut, round, "message %s", seen.Delivery.ID)
		}
		r.stop(t)
		require.Zero(t, r.stale.Load())
	}
	for id, times := range handled {
		require.Equal(t, 1, times, "message %s", id)
	}
	require.Len(t, handled, n)
	_, more, err := rawChannel(t).Get(q.Name, false)
	require.NoError(t, err)
	require.False(t, more)
}

// stopFrozen: the broker answers nothing any more, and the process is told to stop.
func stopFrozen(t *testing.T) {
	q := newQueue(t, 1, 5)
	declare(t, q)
	proxy, url := startProxy(t)
	p := NewPublisher(options(url, t.Name()), NewTopology([]event.Queue{q}))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	r := startConsumer(t, url, p, time.Second, q, func(context.Context, event.Delivery) error { return nil })
	r.awaitConsuming(t, true)
	eventtest.SendAll(t, p, messageTo(q, "before"))
	freeze(t, proxy)
	var sending sync.WaitGroup
	sending.Go(func() {
		assert.ErrorIs(t, p.Send(ctx, []event.Message{messageTo(q, "during")})[0], event.ErrUnavailable)
	})
	started := time.Now()
	r.stop(t)
	require.Less(t, time.Since(started), 10*time.Second)
	stop()
	require.NoError(t, eventtest.Next(t, ended))
	sending.Wait()
	require.Less(t, time.Since(started), 20*time.Second)
}

// moveUnavailable: the retry queues cannot be reached for a while. The message stays where it is.
func moveUnavailable(t *testing.T) {
	q := newQueue(t, 1, 5, 50*time.Millisecond)
	declare(t, q)
	p := startPublisher(t, brokerURL(t), q)
	tries := make(chan struct{}, 10)
	var once sync.Once
	flaky := senderFunc(func(m event.Message) error {
		tries <- struct{}{}
		err := event.ErrUnavailable
		once.Do(func() { err = nil })
		if err == nil {
			return event.ErrUnavailable
		}
		return p.Send(context.Background(), []event.Message{m})[0]
	})
	r := startConsumer(t, brokerURL(t), flaky, time.Second, q, func(_ context.Context, d event.Delivery) error {
		if d.Attempts() == 0 {
			return errors.New("once more")
		}
		return nil
	})
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "kept")))
	require.Equal(t, event.Retry, eventtest.Next(t, r.Seen).Decision.Action)
	require.Len(t, tries, 2)
	require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
}

func deletedQueue(t *testing.T) {
	q := newQueue(t, 1, 5)
	declare(t, q)
	p := startPublisher(t, brokerURL(t), q)
	r := startConsumer(t, brokerURL(t), p, time.Second, q, func(context.Context, event.Delivery) error { return nil })
	r.awaitConsuming(t, true)
	_, err := rawChannel(t).QueueDelete(q.Name, false, false, false)
	require.NoError(t, err)
	var sent error
	require.Eventually(t, func() bool {
		sent = p.Send(context.Background(), []event.Message{messageTo(q, "after")})[0]
		return sent == nil
	}, 10*time.Second, 20*time.Millisecond, "%v", sent)
	require.Equal(t, "after", eventtest.Next(t, r.Seen).Delivery.ID)
}

// strangeQueue: one of two queues exists with other arguments, so that its own declaration is refused.
func strangeQueue(t *testing.T) {
	strange, q := newQueue(t, 1, 5), newQueue(t, 1, 5)
	_, err := rawChannel(t).QueueDeclare(strange.Name, true, false, false, false, nil)
	require.NoError(t, err)
	seen := eventtest.NewObserver()
	done := func(context.Context, event.Delivery) error { return nil }
	p := startPublisher(t, brokerURL(t), q)
	c := NewConsumer(ConsumerOptions{
		Connection: options(brokerURL(t), t.Name()), Sender: p, Now: time.Now, DrainTimeout: time.Second,
		StaleAck: func(string) { assert.Fail(t, "its connection is lost") },
	}, []event.Consumer{{Queue: strange, Observer: seen, Handle: done}, {Queue: q, Observer: seen, Handle: done}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for _, id := range []string{"one", "two", "three"} {
		require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, id)))
		require.Equal(t, id, eventtest.Next(t, seen.Seen).Delivery.ID)
	}
	require.False(t, c.Consuming())
	stop()
	require.NoError(t, eventtest.Next(t, ended))
}

func TestConsumerLeaksNothing(t *testing.T) {
	// Not parallel: it counts goroutines.
	t.Run("through twenty cuts", func(t *testing.T) {
		if os.Getenv("INTEGRATION") == "" {
			return
		}
		q := newQueue(t, 1, 5)
		declare(t, q)
		proxy, url := startProxy(t)
		before := ours()
		for range 10 { // each round begins with a short back-off
			p := NewPublisher(options(url, t.Name()), NewTopology([]event.Queue{q}))
			c := NewConsumer(ConsumerOptions{
				Connection: options(url, t.Name()), Sender: p, Now: time.Now,
				DrainTimeout: time.Second, StaleAck: func(string) {},
			}, []event.Consumer{{
				Queue: q, Observer: eventtest.NewObserver(),
				Handle: func(context.Context, event.Delivery) error { return nil },
			}})
			ctx, cancel := context.WithCancel(context.Background())
			var both sync.WaitGroup
			both.Go(func() { require.NoError(t, p.Run(ctx)) })
			both.Go(func() { require.NoError(t, c.Run(ctx)) })
			for range 2 {
				require.Eventually(t, c.Consuming, 15*time.Second, time.Millisecond)
				eventtest.SendAll(t, p, messageTo(q, "through"))
				proxy.Stop()
				require.Eventually(t, func() bool { return !c.Consuming() }, 15*time.Second, time.Millisecond)
				require.NoError(t, proxy.Start())
			}
			require.Eventually(t, c.Consuming, 15*time.Second, time.Millisecond)
			cancel()
			both.Wait()
		}
		require.Eventually(t, func() bool { return len(ours()) <= len(before) }, 10*time.Second, 20*time.Millisecond,
			"goroutines left behind:\n%s", strings.Join(ours(), "\n\n"))
	})
	// The session is lost before every queue is being consumed.
	t.Run("when its set-up fails", func(t *testing.T) {
		if os.Getenv("INTEGRATION") == "" {
			return
		}
		q := newQueue(t, 1, 5)
		c := NewConsumer(ConsumerOptions{
			Connection: options(brokerURL(t), t.Name()), Sender: nil, Now: time.Now,
			DrainTimeout: time.Second, StaleAck: func(string) {},
		}, []event.Consumer{{Queue: q}})
		_, err := rawChannel(t).QueueDeclare(q.Name, true, false, false, false, nil) // with other arguments: ours is refused
		require.NoError(t, err)
		before := ours()
		ctx, cancel := context.WithCancel(context.Background())
		for range 3 {
			conn, err := rabbitmq.Dial(ctx, c.options.Connection)
			require.NoError(t, err)
			life, end := context.WithCancel(ctx)
			var refused *amqp.Error
			require.ErrorAs(t, c.workers[0].session(ctx, life, conn), &refused)
			require.Equal(t, amqp.PreconditionFailed, refused.Code)
			require.False(t, c.Consuming())
			end()
			require.NoError(t, conn.Close())
		}
		cancel()
		require.Eventually(t, func() bool { return len(ours()) <= len(before) }, 10*time.Second, 20*time.Millisecond,
			"goroutines left behind:\n%s", strings.Join(ours(), "\n\n"))
	})
}

// ours answers the stacks of this service's and the client library's goroutines.
func ours() (stacks []string) {
	all := make([]byte, 8<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range strings.Split(string(all), "\n\n") {
		if strings.Contains(stack, "amqp091-go") || strings.Contains(stack, "event/rabbitmq.(") ||
			strings.Contains(stack, "pkg/rabbitmq.") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// givenBackOnce: messages that wait behind a long one through several stops. Each stop costs them one hand-out, not
// more: after event.CrashLoopLimit of them they would count as a crash loop.
func givenBackOnce(t *testing.T) {
	q := newQueue(t, 1, 2)
	p := startPublisher(t, brokerURL(t), q)
	for _, err := range eventtest.SendAll(t, p, messageTo(q, "long"), messageTo(q, "waiting"), messageTo(q, "third")) {
		require.NoError(t, err)
	}
	raw := rawChannel(t)
	for round := range 5 {
		begun := make(chan event.Delivery, 10)
		r := startConsumer(t, brokerURL(t), p, time.Millisecond, q, func(ctx context.Context, d event.Delivery) error {
			begun <- d
			<-ctx.Done()
			return ctx.Err()
		})
		require.LessOrEqual(t, eventtest.Next(t, begun).HandedOut, round)
		require.Eventually(t, func() bool { return ready(t, raw, q.Name) == 1 }, 10*time.Second, time.Millisecond)
		r.stop(t)
		require.Equal(t, event.Requeue, eventtest.Next(t, r.Seen).Decision.Action)
		require.Empty(t, begun)
		require.Eventually(t, func() bool { return ready(t, raw, q.Name) == 3 }, 10*time.Second, time.Millisecond)
	}
}
