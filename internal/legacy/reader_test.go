package legacy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// What a log says of the old queue.
const (
	logFound  = `"message":"found the old queue`
	logGone   = `"message":"the old queue has gone`
	logLooked = `"message":"looked for`
)

func handled(context.Context, event.Delivery) error { return nil }

// acks remembers what was acked and given back.
type acks struct{ acked, requeued []uint64 }

func (a *acks) Ack(tag uint64, _ bool) error     { a.acked = append(a.acked, tag); return nil }
func (a *acks) Nack(tag uint64, _, _ bool) error { a.requeued = append(a.requeued, tag); return nil }
func (a *acks) Reject(uint64, bool) error        { return errors.New("not used") }

// senderFunc is a Sender made of a function.
type senderFunc func(event.Message) error

func (f senderFunc) Send(_ context.Context, messages []event.Message) []error {
	return []error{f(messages[0])}
}

func ourQueue(levels ...time.Duration) event.Queue {
	if len(levels) == 0 {
		levels = []time.Duration{time.Hour}
	}
	return event.Queue{
		Name: "identity.legacy", Workers: 1, Prefetch: 10, Retry: event.Policy{Levels: levels, GiveUpAfter: time.Hour},
	}
}

// fakeReader handles deliveries without a broker; calls counts the handler's runs.
func fakeReader(sender senderFunc, handle event.Handler) (r *Reader, observer *eventtest.Observer, calls *int) {
	calls, observer = new(int), eventtest.NewObserver()
	r = NewReader(ReaderDeps{
		Connection: rabbitmq.Options{Log: zerolog.Nop()}, Sender: sender, Now: time.Now, StaleAck: func(string) {},
		Consumer: event.Consumer{Queue: ourQueue(), Observer: observer, Handle: func(ctx context.Context, d event.Delivery) error {
			*calls++
			return handle(ctx, d)
		}},
	})
	return r, observer, calls
}

func delivered(a *acks, id string, redelivered bool) job {
	return job{
		Delivery: amqp.Delivery{Acknowledger: a, MessageId: id, DeliveryTag: 1, Redelivered: redelivered},
		life:     context.Background(),
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	t.Run("a redelivered message is adopted: named once, and acked once it is there", func(t *testing.T) {
		t.Parallel()
		a := &acks{}
		var sent []event.Message
		r, observer, calls := fakeReader(func(m event.Message) error {
			require.Empty(t, a.acked)
			if sent = append(sent, m); len(sent) == 1 {
				return event.ErrUnavailable // it may be there all the same
			}
			return nil
		}, handled)
		ctx := context.Background()
		r.handle(ctx, ctx, delivered(a, "", true))
		require.Equal(t, []uint64{1}, a.acked)
		require.Len(t, sent, 2)
		require.NotEmpty(t, sent[0].ID)
		require.Equal(t, sent[0], sent[1], "the same message again, by the same name")
		require.Equal(t, "identity.legacy", sent[0].RoutingKey)
		require.Empty(t, sent[0].Exchange)
		require.Equal(t, 1, sent[0].Moves())
		require.Zero(t, sent[0].Attempts())
		require.Zero(t, *calls)
		require.Equal(t, event.Decision{Action: adopt, Outcome: "adopted", Headers: map[string]string{
			event.HeaderMoves: "1", event.HeaderRoutingKey: "",
		}}, eventtest.Next(t, observer.Seen).Decision)
	})

	t.Run("a message that ours has begun does not go back to the old queue", func(t *testing.T) {
		t.Parallel()
		stop, end := context.WithCancel(context.Background())
		a := &acks{}
		var sent []event.Message
		r, _, _ := fakeReader(func(m event.Message) error { sent = append(sent, m); return nil },
			func(context.Context, event.Delivery) error {
				end()
				return context.Canceled // cut off in the middle
			})
		r.handle(stop, context.Background(), delivered(a, "evt_a", false))
		require.Equal(t, []uint64{1}, a.acked)
		require.Empty(t, a.requeued)
		require.Len(t, sent, 1)
		require.Equal(t, "identity.legacy", sent[0].RoutingKey)
		require.Zero(t, sent[0].Attempts(), "it has not failed")
	})

	for name, c := range map[string]struct {
		err   error
		queue string
	}{
		"a failed message moves to a retry level":        {errors.New("450"), "identity.legacy.retry.1h"},
		"a message that can never work is dead-lettered": {event.Permanent(event.ReasonRejected, errors.New("550")), "identity.legacy.dead"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &acks{}
			var sent []event.Message
			r, _, _ := fakeReader(func(m event.Message) error {
				require.Empty(t, a.acked)
				sent = append(sent, m)
				return nil
			}, func(context.Context, event.Delivery) error { return c.err })
			ctx := context.Background()
			r.handle(ctx, ctx, delivered(a, "evt_a", false))
			require.Equal(t, []uint64{1}, a.acked)
			require.Len(t, sent, 1)
			require.Equal(t, c.queue, sent[0].RoutingKey)
		})
	}

	t.Run("a message that cannot be moved stays the old queue's when the process stops or the connection is lost", func(t *testing.T) {
		t.Parallel()
		ended, end := context.WithCancel(context.Background())
		end()
		unreachable := func(event.Message) error { return event.ErrUnavailable }
		a := &acks{}
		r, observer, _ := fakeReader(unreachable, handled)
		r.handle(ended, context.Background(), delivered(a, "evt_a", true))
		require.Empty(t, a.acked)
		require.Equal(t, []uint64{1}, a.requeued)
		require.Equal(t, event.Requeue, eventtest.Next(t, observer.Seen).Decision.Action)

		a = &acks{}
		j := delivered(a, "evt_a", true)
		j.life = ended
		r.handle(context.Background(), context.Background(), j)
		require.Empty(t, a.acked)
		require.Empty(t, a.requeued, "the broker hands it out again by itself")
		require.Equal(t, event.Requeue, eventtest.Next(t, observer.Seen).Decision.Action)
	})

	// A queue that is there and may not be read is worth a warning; one that is not there is not.
	t.Run("a refusal is reported once, and its end", func(t *testing.T) {
		t.Parallel()
		missing := fmt.Errorf("looking: %w", &amqp.Error{Code: amqp.NotFound, Server: true})
		refused := fmt.Errorf("looking: %w", &amqp.Error{Code: amqp.AccessRefused, Server: true})
		log := &lines{}
		var reported []bool
		r := NewReader(ReaderDeps{
			Connection: rabbitmq.Options{Log: zerolog.New(log)},
			Refused:    func(refused bool) { reported = append(reported, refused) },
		})
		for _, err := range []error{missing, refused, refused, missing, refused} {
			r.report(false, err)
		}
		r.report(true, nil)
		require.Equal(t, []bool{true, false, true, false}, reported)
		require.Equal(t, 2, log.count(`"message":"the old queue is refused`))
		require.Equal(t, 2, log.count(`"level":"warn"`))
	})

	onServer(t, map[string]func(*testing.T){
		"finds the old queue, loses it, and finds it again":            comesAndGoes,
		"acks what is handled while its queue is deleted":              deletedAtWork,
		"is served behind every other reader":                          servedLast,
		"adopts what was begun before":                                 adoptsBegun,
		"a retry comes back to our own queue":                          retriedInOurs,
		"a stop gives back what no handler has begun":                  drained,
		"an ack of a lost connection reaches no other message":         cutConnection,
		"hands out no more than it has handlers":                       boundedByHandlers,
		"reads a queue that another reader had to itself, once it may": exclusive,
	})
}

// reading is a Reader at work, and a consumer of our own queue with the same handler.
type reading struct {
	*eventtest.Observer
	broker string
	raw    *amqp.Channel
	queue  event.Queue
	log    lines
	stale  atomic.Int64
	stop   func()
}

// startReader runs both. through is the broker's URL for the Reader alone.
func startReader(t *testing.T, broker, through string, q event.Queue, drain time.Duration, handle event.Handler) *reading {
	t.Helper()
	r := &reading{Observer: eventtest.NewObserver(), broker: broker, raw: rawChannel(t, broker), queue: q}
	queues := []event.Queue{q}
	publisher := eventmq.NewPublisher(options(broker, t.Name()+" publisher", nil), eventmq.NewTopology(queues))
	run(t, publisher.Run)
	ours := event.Consumer{Queue: q, Handle: handle, Observer: r.Observer}
	consumer := eventmq.NewConsumer(eventmq.ConsumerOptions{
		Connection: options(broker, t.Name()+" consumer", nil), Topology: eventmq.NewTopology(queues), Sender: publisher, Now: time.Now,
		DrainTimeout: drain, StaleAck: func(string) {},
	}, []event.Consumer{ours})
	run(t, consumer.Run)
	require.Eventually(t, consumer.Consuming, 15*time.Second, time.Millisecond)
	reader := NewReader(ReaderDeps{
		Connection: options(through, t.Name(), &r.log), Consumer: ours, Sender: publisher, Now: time.Now, DrainTimeout: drain,
		StaleAck: func(string) { r.stale.Add(1) }, Refused: func(bool) {},
	})
	reader.probeEvery = 5 * time.Millisecond
	r.stop = run(t, reader.Run)
	return r
}

func (r *reading) declare(t *testing.T) {
	t.Helper()
	require.NoError(t, Declare(r.raw))
}

func (r *reading) publish(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		publishRaw(t, r.raw, copyNamed(id))
	}
}

func (r *reading) deleteOld(t *testing.T) {
	t.Helper()
	_, err := r.raw.QueueDelete(Queue, false, false, false)
	require.NoError(t, err)
}

// gate returns a handler that says what it has begun and ends when it is told to.
func gate(t *testing.T) (begun chan string, finish chan struct{}, handle event.Handler) {
	t.Helper()
	begun, finish = make(chan string, 10), make(chan struct{})
	return begun, finish, func(_ context.Context, d event.Delivery) error {
		begun <- d.ID
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	}
}

func comesAndGoes(t *testing.T) {
	broker := newVirtualHost(t)
	r := startReader(t, broker, broker, ourQueue(), time.Second, handled)
	r.log.await(t, logLooked, 2)
	require.Zero(t, r.log.count(logFound))
	for round := range 3 {
		r.declare(t)
		id := fmt.Sprint(round)
		r.publish(t, id)
		seen := eventtest.Next(t, r.Seen)
		require.Equal(t, id, seen.Delivery.ID)
		require.Equal(t, r.queue.Name, seen.Queue)
		require.Equal(t, Exchange, seen.Delivery.Exchange)
		require.Equal(t, event.Ack, seen.Decision.Action)
		r.deleteOld(t)
		r.log.await(t, logGone, round+1)
	}
	require.Equal(t, 3, r.log.count(logFound))
	require.Equal(t, 3, r.log.count(logGone))
	require.Equal(t, 1, r.log.count("connected to rabbitmq"), "the connection has not noticed")
	require.Zero(t, r.log.count(`"level":"warn"`))
}

// deletedAtWork: what we hold of a queue that is deleted is nowhere else any more.
func deletedAtWork(t *testing.T) {
	broker := newVirtualHost(t)
	begun, finish, handle := gate(t)
	r := startReader(t, broker, broker, ourQueue(), time.Second, handle)
	r.declare(t)
	r.publish(t, "at work")
	require.Equal(t, "at work", eventtest.Next(t, begun))
	r.deleteOld(t)
	r.log.await(t, logGone, 1)
	finish <- struct{}{} // this one ends when its queue has been given up
	require.Equal(t, "at work", eventtest.Next(t, r.Seen).Delivery.ID)
	r.declare(t)
	r.publish(t, "last")
	require.Equal(t, "last", eventtest.Next(t, begun))
	r.deleteOld(t)
	r.log.await(t, logGone, 2)
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	finish <- struct{}{}
	<-stopped
	seen := eventtest.Next(t, r.Seen)
	require.Equal(t, "last", seen.Delivery.ID)
	require.Equal(t, event.Ack, seen.Decision.Action)
	require.Zero(t, r.stale.Load(), "every ack had its channel")
	require.Equal(t, 1, r.log.count("connected to rabbitmq"))
}

func servedLast(t *testing.T) {
	const n = 50
	broker := newVirtualHost(t)
	r := startReader(t, broker, broker, ourQueue(), time.Second, handled)
	r.declare(t)
	awaitReaders(t, r.raw, Queue, 1)
	reader := rawChannel(t, broker)
	old := oldConsumer(t, reader)
	for i := range n {
		r.publish(t, fmt.Sprint(i))
	}
	for i := range n {
		d := eventtest.Next(t, old)
		require.Equal(t, fmt.Sprint(i), d.MessageId)
		require.NoError(t, d.Ack(false))
	}
	require.Empty(t, r.Seen)
	require.NoError(t, reader.Cancel("old", false))
	r.publish(t, "now ours")
	require.Equal(t, event.Handled, eventtest.Next(t, r.Seen).Decision.Outcome)
}

func adoptsBegun(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, Declare(raw))
	ofThePreviousRelease := copyNamed("")
	ofThePreviousRelease.Body = []byte(`{"Subject":"without an id"}`)
	publishRaw(t, raw, copyNamed("with an id"), ofThePreviousRelease, copyNamed("untouched"))
	get(t, raw, Queue)
	second := get(t, raw, Queue)
	require.NoError(t, raw.Nack(second.DeliveryTag, true, true))

	r := startReader(t, broker, broker, ourQueue(), time.Second, handled)
	var adoptions int
	works := map[string]event.Delivery{}
	for range 5 {
		switch seen := eventtest.Next(t, r.Seen); seen.Decision.Outcome {
		case "adopted":
			adoptions++
		case event.Handled:
			works[string(seen.Delivery.Body)] = seen.Delivery
		}
	}
	require.Equal(t, 2, adoptions)
	require.Len(t, works, 3)
	untouched := works[`{"Subject":"untouched"}`]
	require.Equal(t, Exchange, untouched.Exchange)
	require.Zero(t, untouched.Moves())
	for _, body := range []string{`{"Subject":"with an id"}`, `{"Subject":"without an id"}`} {
		require.Contains(t, works, body)
		require.Empty(t, works[body].Exchange, "it was handled from our own queue")
		require.Equal(t, 1, works[body].Moves())
		require.Zero(t, works[body].Attempts())
		require.NotEmpty(t, works[body].ID)
		require.Equal(t, "text/plain", works[body].ContentType)
	}
	require.Equal(t, "with an id", works[`{"Subject":"with an id"}`].ID)
	r.stop()
	require.Zero(t, ready(t, raw, Queue))
}

func retriedInOurs(t *testing.T) {
	broker := newVirtualHost(t)
	decide := make(chan error)
	r := startReader(t, broker, broker, ourQueue(50*time.Millisecond), time.Second, func(context.Context, event.Delivery) error {
		select {
		case err := <-decide:
			return err
		case <-t.Context().Done(): // the test has failed
			return nil
		}
	})
	r.declare(t)
	r.publish(t, "twice")
	decide <- errors.New("not this time")
	require.Equal(t, event.Retry, eventtest.Next(t, r.Seen).Decision.Action)
	// From here on whatever reached the old queue would be an old consumer's, not ours.
	old := oldConsumer(t, r.raw)
	decide <- nil
	again := eventtest.Next(t, r.Seen)
	require.Equal(t, event.Handled, again.Decision.Outcome)
	require.Equal(t, "twice", again.Delivery.ID)
	require.Equal(t, 1, again.Delivery.Attempts())
	require.Empty(t, again.Delivery.Exchange)
	require.Empty(t, old)
}

func drained(t *testing.T) {
	broker := newVirtualHost(t)
	begun, finish, handle := gate(t)
	r := startReader(t, broker, broker, ourQueue(), time.Minute, handle)
	r.declare(t)
	r.publish(t, "finished", "first back", "second back")
	require.Equal(t, "finished", eventtest.Next(t, begun))
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	awaitReaders(t, r.raw, Queue, 0)
	finish <- struct{}{}
	<-stopped
	require.Equal(t, "finished", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Empty(t, r.Seen)
	require.Zero(t, r.stale.Load())
	for _, id := range []string{"first back", "second back"} {
		require.Equal(t, id, get(t, r.raw, Queue).MessageId)
	}
	require.Zero(t, ready(t, r.raw, Queue))
}

// cutConnection: a handler outlives its connection, and its ack must not reach the message that has its tag by then.
func cutConnection(t *testing.T) {
	broker := newVirtualHost(t)
	proxy, through := startProxy(t, broker)
	begun, finish, handle := gate(t)
	q := ourQueue()
	q.Workers = 2
	r := startReader(t, broker, through, q, time.Minute, handle)
	r.declare(t)
	r.publish(t, "A")
	require.Equal(t, "A", eventtest.Next(t, begun))
	proxy.Stop()
	require.Equal(t, "A", get(t, r.raw, Queue).MessageId) // it is with us
	r.publish(t, "B")
	require.NoError(t, proxy.Start())
	require.Equal(t, "B", eventtest.Next(t, begun))
	finish <- struct{}{} // either of them
	finish <- struct{}{}
	for range 2 {
		require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
	}
	require.EqualValues(t, 1, r.stale.Load(), "the ack of A")
	require.Zero(t, ready(t, r.raw, Queue))
}

// boundedByHandlers: what is not begun is better left to others.
func boundedByHandlers(t *testing.T) {
	broker := newVirtualHost(t)
	begun, finish, handle := gate(t)
	q := ourQueue()
	q.Workers = 2
	r := startReader(t, broker, broker, q, time.Second, handle)
	r.declare(t)
	r.publish(t, "1", "2", "3", "4", "5")
	eventtest.Next(t, begun)
	eventtest.Next(t, begun)
	awaitReady(t, r.raw, Queue, 3)
	for range 5 {
		finish <- struct{}{}
		require.Equal(t, event.Handled, eventtest.Next(t, r.Seen).Decision.Outcome)
	}
}

// exclusive: the old queue is there, and not to be read for a while.
func exclusive(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, Declare(raw))
	alone, err := raw.Consume(Queue, "alone", false, true, false, false, nil)
	require.NoError(t, err)
	r := startReader(t, broker, broker, ourQueue(), time.Second, handled)
	r.log.await(t, "ACCESS_REFUSED", 2)
	require.NoError(t, raw.Cancel("alone", false))
	require.Empty(t, alone)
	r.publish(t, "ours now")
	require.Equal(t, "ours now", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Equal(t, 1, r.log.count("connected to rabbitmq"))
	require.Equal(t, 1, r.log.count(logFound))
	require.Zero(t, r.log.count(logGone))
}
