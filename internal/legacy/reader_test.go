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

// acks remembers what was acked.
type acks struct {
	amqp.Acknowledger
	acked []uint64
}

func (a *acks) Ack(tag uint64, _ bool) error { a.acked = append(a.acked, tag); return nil }

// gone is a channel that has gone.
type gone struct{ amqp.Acknowledger }

func (gone) Ack(uint64, bool) error { return amqp.ErrClosed }

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

// fakeReader moves deliveries without a broker; stale counts the acks that had no channel.
func fakeReader(sender senderFunc) (r *Reader, stale *int) {
	stale = new(int)
	r = NewReader(ReaderDeps{
		Connection: rabbitmq.Options{Log: zerolog.Nop()}, Queue: ourQueue(), Sender: sender,
		StaleAck: func(string) { *stale++ },
	})
	return r, stale
}

func delivered(a amqp.Acknowledger, id string, redelivered bool) amqp.Delivery {
	return amqp.Delivery{Acknowledger: a, MessageId: id, DeliveryTag: 1, Redelivered: redelivered}
}

func TestReader(t *testing.T) {
	t.Parallel()
	t.Run("a message is named once, moved, and acked once it is there", func(t *testing.T) {
		t.Parallel()
		for redelivered, want := range map[bool]struct {
			queue string
			moves int
		}{
			false: {"identity.legacy", 0},
			true:  {"identity.legacy.retry.1h", 1}, // behind a copy that may have been moved before
		} {
			a := &acks{}
			var sent []event.Message
			r, stale := fakeReader(func(m event.Message) error {
				require.Empty(t, a.acked)
				if sent = append(sent, m); len(sent) == 1 {
					return event.ErrUnavailable // it may be there all the same
				}
				return nil
			})
			require.True(t, r.move(context.Background(), delivered(a, "", redelivered)))
			require.Equal(t, []uint64{1}, a.acked)
			require.Len(t, sent, 2)
			require.NotEmpty(t, sent[0].ID)
			require.Equal(t, sent[0], sent[1], "the same message again, by the same name")
			require.True(t, sent[0].CameUnnamed())
			require.Equal(t, want.queue, sent[0].RoutingKey)
			require.Empty(t, sent[0].Exchange)
			require.Empty(t, sent[0].Arrived().RoutingKey)
			require.Equal(t, want.moves, sent[0].Moves())
			require.Zero(t, sent[0].Attempts())
			require.Zero(t, *stale)
		}
	})

	t.Run("what our queue cannot have goes to its dead queue, bare, and is acked", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct {
			id, reason string
			rejections int
		}{
			"an id that cannot be used":    {"a\x00b", event.ReasonInvalid, 0},
			"one that cannot be published": {"evt_a", event.ReasonUnsendable, 3},
		} {
			a := &acks{}
			var sent []event.Message
			r, _ := fakeReader(func(m event.Message) error {
				require.Empty(t, a.acked, name)
				if sent = append(sent, m); len(sent) <= test.rejections {
					return event.ErrRejected
				}
				return nil
			})
			d := delivered(a, test.id, false)
			d.Headers, d.Body = amqp.Table{"foreign": "x"}, []byte("body")
			require.True(t, r.move(context.Background(), d))
			require.Equal(t, []uint64{1}, a.acked)
			dead := sent[len(sent)-1]
			require.Len(t, sent, test.rejections+1)
			require.Equal(t, "identity.legacy.dead", dead.RoutingKey)
			require.Equal(t, test.reason, dead.Headers[event.HeaderDeadReason])
			require.NotContains(t, dead.Headers, "foreign")
			require.Equal(t, []byte("body"), dead.Body)
			require.NotEmpty(t, dead.ID)
		}
	})

	t.Run("a message with an id keeps it", func(t *testing.T) {
		t.Parallel()
		for _, redelivered := range []bool{false, true} {
			r, _ := fakeReader(func(m event.Message) error {
				require.Equal(t, "evt_a", m.ID)
				require.False(t, m.CameUnnamed())
				return nil
			})
			require.True(t, r.move(context.Background(), delivered(&acks{}, "evt_a", redelivered)))
		}
	})

	t.Run("a message that cannot be moved stays the old queue's when the process stops or the connection is lost", func(t *testing.T) {
		t.Parallel()
		ended, end := context.WithCancel(context.Background())
		end()
		a := &acks{}
		r, _ := fakeReader(func(event.Message) error { return event.ErrUnavailable })
		require.False(t, r.move(ended, delivered(a, "evt_a", true)))
		require.Empty(t, a.acked)
	})

	t.Run("an ack whose channel has gone is counted, and the message is moved", func(t *testing.T) {
		t.Parallel()
		r, stale := fakeReader(func(event.Message) error { return nil })
		require.True(t, r.move(context.Background(), delivered(gone{}, "evt_a", false)))
		require.Equal(t, 1, *stale)
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
		"moves what it holds of a queue that is deleted":               deletedAtWork,
		"is served behind every other reader":                          servedLast,
		"marks what was handed out before":                             marksRedelivered,
		"a retry comes back to our own queue":                          retriedInOurs,
		"a stop gives back what is not moved":                          givesBack,
		"an ack of a lost connection reaches no other message":         cutConnection,
		"reads a queue that another reader had to itself, once it may": exclusive,
	})
}

// reading is a Reader at work, and a consumer of our own queue.
type reading struct {
	*eventtest.Observer
	raw   *amqp.Channel
	log   lines
	stale atomic.Int64
	stop  func()
}

// startReader runs both. through is the broker's URL for the Reader alone; moving, which may be nil, runs before a
// message is moved, which its error prevents.
func startReader(
	t *testing.T, broker, through string, q event.Queue, handle event.Handler, moving func(event.Message) error,
) *reading {
	t.Helper()
	r := &reading{Observer: eventtest.NewObserver(), raw: rawChannel(t, broker)}
	queues := []event.Queue{q}
	publisher := eventmq.NewPublisher(options(broker, t.Name()+" publisher", nil), eventmq.NewTopology(queues))
	run(t, publisher.Run)
	consumer := eventmq.NewConsumer(eventmq.ConsumerOptions{
		Connection: options(broker, t.Name()+" consumer", nil), Sender: publisher, Now: time.Now,
		DrainTimeout: time.Second, StaleAck: func(string) {},
	}, []event.Consumer{{Queue: q, Handle: handle, Observer: r.Observer}})
	run(t, consumer.Run)
	require.Eventually(t, consumer.Consuming, 15*time.Second, time.Millisecond)
	reader := NewReader(ReaderDeps{
		Connection: options(through, t.Name(), &r.log), Queue: q,
		Sender: senderFunc(func(m event.Message) error {
			if moving != nil {
				if err := moving(m); err != nil {
					return err
				}
			}
			return publisher.Send(context.Background(), []event.Message{m})[0]
		}),
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

// gate returns a function that says what it has begun and ends when it is told to.
func gate(t *testing.T) (begun chan string, finish chan struct{}, moving func(event.Message) error) {
	t.Helper()
	begun, finish = make(chan string, 10), make(chan struct{})
	return begun, finish, func(m event.Message) error {
		begun <- m.ID
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	}
}

func comesAndGoes(t *testing.T) {
	broker := newVirtualHost(t)
	r := startReader(t, broker, broker, ourQueue(), handled, nil)
	r.log.await(t, logLooked, 2)
	require.Zero(t, r.log.count(logFound))
	for round := range 3 {
		r.declare(t)
		id := fmt.Sprint(round)
		r.publish(t, id)
		seen := eventtest.Next(t, r.Seen)
		require.Equal(t, id, seen.Delivery.ID)
		require.Empty(t, seen.Delivery.Exchange, "it was handled from our own queue")
		require.Empty(t, seen.Delivery.RoutingKey, "as it was published")
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
	begun, finish, moving := gate(t)
	r := startReader(t, broker, broker, ourQueue(), handled, moving)
	r.declare(t)
	r.publish(t, "at work", "read ahead")
	require.Equal(t, "at work", eventtest.Next(t, begun))
	awaitReady(t, r.raw, Queue, 0)
	r.deleteOld(t)
	for _, id := range []string{"at work", "read ahead"} {
		finish <- struct{}{}
		require.Equal(t, id, eventtest.Next(t, r.Seen).Delivery.ID)
	}
	r.log.await(t, logGone, 1)
	require.Zero(t, r.stale.Load(), "every ack had its channel")
	require.Equal(t, 1, r.log.count("connected to rabbitmq"))
}

func servedLast(t *testing.T) {
	const n = 50
	broker := newVirtualHost(t)
	r := startReader(t, broker, broker, ourQueue(), handled, nil)
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

func marksRedelivered(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, Declare(raw))
	ofThePreviousRelease := copyNamed("")
	ofThePreviousRelease.Body = []byte(`{"Subject":"without an id"}`)
	publishRaw(t, raw, copyNamed("with an id"), ofThePreviousRelease, copyNamed("untouched"))
	get(t, raw, Queue)
	second := get(t, raw, Queue)
	require.NoError(t, raw.Nack(second.DeliveryTag, true, true))

	r := startReader(t, broker, broker, ourQueue(50*time.Millisecond), handled, nil)
	works := map[string]event.Delivery{}
	for range 3 {
		seen := eventtest.Next(t, r.Seen)
		works[string(seen.Delivery.Body)] = seen.Delivery
	}
	require.Len(t, works, 3)
	for body, moves := range map[string]int{
		`{"Subject":"untouched"}`: 0, `{"Subject":"with an id"}`: 1, `{"Subject":"without an id"}`: 1,
	} {
		require.Contains(t, works, body)
		require.Equal(t, moves, works[body].Moves(), body)
		require.Zero(t, works[body].Attempts())
		require.Zero(t, works[body].HandedOut)
		require.Equal(t, moves == 1 && body != `{"Subject":"with an id"}`, works[body].CameUnnamed())
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
	r := startReader(t, broker, broker, ourQueue(50*time.Millisecond), func(context.Context, event.Delivery) error {
		select {
		case err := <-decide:
			return err
		case <-t.Context().Done(): // the test has failed
			return nil
		}
	}, nil)
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

func givesBack(t *testing.T) {
	broker := newVirtualHost(t)
	tried := make(chan string, 10)
	r := startReader(t, broker, broker, ourQueue(), handled, func(m event.Message) error {
		tried <- m.ID
		return event.ErrUnavailable
	})
	r.declare(t)
	ids := []string{"tried", "read ahead", "read ahead too"}
	r.publish(t, ids...)
	require.Equal(t, ids[0], eventtest.Next(t, tried))
	awaitReady(t, r.raw, Queue, 0)
	r.stop()
	require.Empty(t, r.Seen)
	for _, id := range ids {
		require.Equal(t, id, get(t, r.raw, Queue).MessageId)
	}
	require.Zero(t, ready(t, r.raw, Queue))
}

// cutConnection: a move outlives its connection, and its ack must not reach the message that has its tag by then.
func cutConnection(t *testing.T) {
	broker := newVirtualHost(t)
	proxy, through := startProxy(t, broker)
	begun, finish, moving := gate(t)
	r := startReader(t, broker, through, ourQueue(50*time.Millisecond), handled, moving)
	r.declare(t)
	r.publish(t, "A")
	require.Equal(t, "A", eventtest.Next(t, begun))
	proxy.Stop()
	again := get(t, r.raw, Queue)
	require.Equal(t, "A", again.MessageId)
	finish <- struct{}{} // it is moved, and cannot be acked
	require.Equal(t, "A", eventtest.Next(t, r.Seen).Delivery.ID)
	require.NoError(t, again.Nack(false, true))
	require.NoError(t, proxy.Start())
	require.Equal(t, "A", eventtest.Next(t, begun))
	finish <- struct{}{}
	seen := eventtest.Next(t, r.Seen)
	require.Equal(t, "A", seen.Delivery.ID)
	require.Equal(t, 1, seen.Delivery.Moves())
	require.EqualValues(t, 1, r.stale.Load())
	require.Zero(t, ready(t, r.raw, Queue))
}

// exclusive: the old queue is there, and not to be read for a while.
func exclusive(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, Declare(raw))
	alone, err := raw.Consume(Queue, "alone", false, true, false, false, nil)
	require.NoError(t, err)
	r := startReader(t, broker, broker, ourQueue(), handled, nil)
	r.log.await(t, "(code 403)", 2)
	require.NoError(t, raw.Cancel("alone", false))
	require.Empty(t, alone)
	r.publish(t, "ours now")
	require.Equal(t, "ours now", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Equal(t, 1, r.log.count("connected to rabbitmq"))
	require.Equal(t, 1, r.log.count(logFound))
	require.Zero(t, r.log.count(logGone))
}
