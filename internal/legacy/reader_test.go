package legacy

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func (l *lines) await(t testing.TB, part string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return l.count(part) >= n }, 15*time.Second, time.Millisecond, "%s", part)
}

// What a log says of a source.
const (
	logFound  = `"message":"found;`
	logGone   = `"message":"gone;`
	logLooked = `"message":"looked for`
)

// sourced makes q read a queue of somebody else, bound to a fanout exchange that is named like it. Neither is declared.
func sourced(t testing.TB, q event.Queue) (event.Queue, Topology) {
	t.Helper()
	q.Source, q.Bindings = q.Name+".source", nil
	previous := FanoutTopology(q.Source, q.Source)
	t.Cleanup(func() { deleteAll(t, rawChannel(t), previous) })
	return q, previous
}

// copyTo is a message to the fanout exchange before q's source.
func copyTo(q event.Queue, id string) event.Message {
	return event.Message{
		ID: id, Exchange: q.Source, ContentType: "text/plain", Mandatory: true, Headers: map[string]string{},
		Body: []byte(`{"Subject":"` + id + `"}`),
	}
}

func readers(t testing.TB, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Consumers
}

func awaitReaders(t testing.TB, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return readers(t, ch, queue) == n }, 15*time.Second, time.Millisecond)
}

// oldConsumer reads as the previous release does: no limit to what it is handed, no arguments.
func oldConsumer(t testing.TB, ch *amqp.Channel, queue string) <-chan amqp.Delivery {
	t.Helper()
	deliveries, err := ch.Consume(queue, "old", false, false, false, false, nil)
	require.NoError(t, err)
	return deliveries
}

func handled(context.Context, event.Delivery) error { return nil }

func sourceComesAndGoes(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	raw := rawChannel(t)
	var log lines
	o := options(brokerURL(t), t.Name())
	o.Log = zerolog.New(&log)
	r := startConsumerOn(t, o, startPublisher(t, brokerURL(t), q), time.Second, q, handled)
	r.awaitConsuming(t, true)
	log.await(t, logLooked, 2)
	require.Zero(t, log.count(logFound))
	for round := range 3 {
		require.NoError(t, previous.Declare(raw))
		id := fmt.Sprint(round)
		publishRaw(t, raw, copyTo(q, id))
		seen := eventtest.Next(t, r.Seen)
		require.Equal(t, id, seen.Delivery.ID)
		require.Equal(t, q.Name, seen.Queue)
		require.Equal(t, q.Source, seen.Delivery.Exchange)
		require.Zero(t, seen.Delivery.HandedOut)
		require.Equal(t, event.Ack, seen.Decision.Action)
		_, err := raw.QueueDelete(q.Source, false, false, false)
		require.NoError(t, err)
		log.await(t, logGone, round+1)
		require.True(t, r.Consuming())
	}
	own := messageTo(q, "own")
	publishRaw(t, raw, own.Moved(q.Name, nil))
	require.Equal(t, "own", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Equal(t, 3, log.count(logFound))
	require.Equal(t, 3, log.count(logGone))
	require.Equal(t, 1, log.count("connected to rabbitmq"), "the connection has seen nothing of it")
	require.Zero(t, log.count(`"level":"warn"`))
}

// sourceDeletedAtWork: what we hold of a queue that is deleted is nowhere else any more.
func sourceDeletedAtWork(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	var log lines
	o := options(brokerURL(t), t.Name())
	o.Log = zerolog.New(&log)
	begun, finish := make(chan string, 10), make(chan struct{})
	r := startConsumerOn(t, o, startPublisher(t, brokerURL(t), q), time.Second, q, func(_ context.Context, d event.Delivery) error {
		begun <- d.ID
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	})
	publishRaw(t, raw, copyTo(q, "at work"), copyTo(q, "waiting"))
	require.Equal(t, "at work", eventtest.Next(t, begun))
	require.Eventually(t, func() bool { return ready(t, raw, q.Source) == 0 }, 15*time.Second, time.Millisecond)
	_, err := raw.QueueDelete(q.Source, false, false, false)
	require.NoError(t, err)
	finish <- struct{}{}
	require.Equal(t, "waiting", eventtest.Next(t, begun))
	log.await(t, logGone, 1)
	finish <- struct{}{} // this one ends when its queue has been given up
	require.NoError(t, previous.Declare(raw))
	publishRaw(t, raw, copyTo(q, "later"))
	finish <- struct{}{}
	for _, id := range []string{"at work", "waiting", "later"} {
		seen := eventtest.Next(t, r.Seen)
		require.Equal(t, id, seen.Delivery.ID)
		require.Equal(t, event.Ack, seen.Decision.Action)
	}
	require.Zero(t, ready(t, raw, q.Source))

	publishRaw(t, raw, copyTo(q, "last"))
	require.Equal(t, "later", eventtest.Next(t, begun))
	require.Equal(t, "last", eventtest.Next(t, begun))
	_, err = raw.QueueDelete(q.Source, false, false, false)
	require.NoError(t, err)
	log.await(t, logGone, 2)
	r.end()
	awaitReaders(t, raw, q.Name, 0) // the stop has been heard
	finish <- struct{}{}
	r.stop(t)
	require.Equal(t, "last", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Zero(t, r.stale.Load(), "every ack had its channel")
	require.Equal(t, 1, log.count("connected to rabbitmq"))
}

func sourceBehindOthers(t *testing.T) {
	const n = 50
	q, previous := sourced(t, newQueue(t, 2, 10))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	r := startConsumer(t, brokerURL(t), startPublisher(t, brokerURL(t), q), time.Second, q, handled)
	awaitReaders(t, raw, q.Source, 1)
	reader := rawChannel(t)
	old := oldConsumer(t, reader, q.Source)
	send := func() {
		messages := make([]event.Message, n)
		for i := range messages {
			messages[i] = copyTo(q, fmt.Sprint(i))
		}
		publishRaw(t, raw, messages...)
	}
	send()
	for i := range n {
		d := eventtest.Next(t, old)
		require.Equal(t, fmt.Sprint(i), d.MessageId)
		require.NoError(t, d.Ack(false))
	}
	require.Empty(t, r.Seen)

	require.NoError(t, reader.Cancel("old", false))
	send()
	for range n {
		require.Equal(t, "handled", eventtest.Next(t, r.Seen).Decision.Outcome)
	}
}

func sourceDrained(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	begun, finish := make(chan struct{}, 10), make(chan struct{})
	r := startConsumer(t, brokerURL(t), startPublisher(t, brokerURL(t), q), time.Minute, q, func(context.Context, event.Delivery) error {
		begun <- struct{}{}
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	})
	publishRaw(t, raw, copyTo(q, "finished"), copyTo(q, "first back"), copyTo(q, "second back"))
	eventtest.Next(t, begun)
	require.Eventually(t, func() bool { return ready(t, raw, q.Source) == 0 }, 15*time.Second, time.Millisecond)
	r.end()
	require.Eventually(t, func() bool { return ready(t, raw, q.Source) == 2 }, 15*time.Second, time.Millisecond)
	close(finish)
	r.stop(t)
	require.Equal(t, "finished", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Empty(t, r.Seen)
	require.Zero(t, r.stale.Load())
	for _, id := range []string{"first back", "second back"} {
		require.Equal(t, id, rawGet(t, raw, q.Source).MessageId)
	}
	_, more, err := raw.Get(q.Source, false)
	require.NoError(t, err)
	require.False(t, more)
}

// sourceCut: a handler outlives its connection, and its ack must not reach the message that has its tag by then.
func sourceCut(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	proxy, url := startProxy(t)
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	begun, finish := make(chan string, 10), make(chan struct{})
	r := startConsumer(t, url, startPublisher(t, brokerURL(t), q), time.Minute, q, func(_ context.Context, d event.Delivery) error {
		begun <- d.ID
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		return nil
	})
	publishRaw(t, raw, copyTo(q, "A"))
	require.Equal(t, "A", eventtest.Next(t, begun))
	proxy.Stop()
	require.Equal(t, "A", rawGet(t, raw, q.Source).MessageId) // it is with us
	publishRaw(t, raw, copyTo(q, "B"))
	require.NoError(t, proxy.Start())
	require.Eventually(t, func() bool { return ready(t, raw, q.Source) == 0 }, 15*time.Second, time.Millisecond)
	finish <- struct{}{}
	require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
	require.EqualValues(t, 1, r.stale.Load())
	require.Equal(t, "B", eventtest.Next(t, begun))
	proxy.Stop()
	require.Equal(t, "B", rawGet(t, raw, q.Source).MessageId, "B was not acked by anybody")
	finish <- struct{}{}
	require.Equal(t, event.Ack, eventtest.Next(t, r.Seen).Decision.Action)
}

func sourceWorkers(t *testing.T) {
	const n = 20
	q, previous := sourced(t, newQueue(t, 2, 10))
	raw := rawChannel(t)
	declare(t, q)
	require.NoError(t, previous.Declare(raw))
	for i := range n {
		own := messageTo(q, fmt.Sprint("own ", i))
		publishRaw(t, raw, copyTo(q, fmt.Sprint("theirs ", i)), own.Moved(q.Name, nil))
	}
	var running, most atomic.Int64
	finish := make(chan struct{})
	r := startConsumer(t, brokerURL(t), startPublisher(t, brokerURL(t), q), time.Second, q, func(context.Context, event.Delivery) error {
		now := running.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		select {
		case <-finish:
		case <-t.Context().Done(): // the test has failed
		}
		running.Add(-1)
		return nil
	})
	for _, queue := range []string{q.Name, q.Source} { // both have handed out what they may
		require.Eventually(t, func() bool { return ready(t, raw, queue) == n-q.Prefetch }, 15*time.Second, time.Millisecond)
	}
	origins := map[string]int{}
	for range 2 * n {
		finish <- struct{}{}
		seen := eventtest.Next(t, r.Seen)
		require.Equal(t, "handled", seen.Decision.Outcome)
		origins[seen.Delivery.Exchange]++
	}
	require.Equal(t, map[string]int{"": n, q.Source: n}, origins)
	require.EqualValues(t, q.Workers, most.Load())
}

// sourceExclusive: the source is there, and not to be read for a while.
func sourceExclusive(t *testing.T) {
	q, previous := sourced(t, newQueue(t, 1, 10))
	raw := rawChannel(t)
	require.NoError(t, previous.Declare(raw))
	alone, err := raw.Consume(q.Source, "alone", false, true, false, false, nil)
	require.NoError(t, err)
	var log lines
	o := options(brokerURL(t), t.Name())
	o.Log = zerolog.New(&log)
	r := startConsumerOn(t, o, startPublisher(t, brokerURL(t), q), time.Second, q, handled)
	r.awaitConsuming(t, true)
	log.await(t, "ACCESS_REFUSED", 2)
	require.True(t, r.Consuming())
	require.NoError(t, raw.Cancel("alone", false))
	require.Empty(t, alone)
	publishRaw(t, raw, copyTo(q, "ours now"))
	require.Equal(t, "ours now", eventtest.Next(t, r.Seen).Delivery.ID)
	require.Equal(t, 1, log.count("connected to rabbitmq"))
	require.Equal(t, 1, log.count(logFound))
	require.Zero(t, log.count(logGone))
}

// A queue that is there and may not be read is worth a warning; one that is not there is not.
func TestARefusedSourceIsToldOnce(t *testing.T) {
	t.Parallel()
	missing := fmt.Errorf("looking: %w", &amqp.Error{Code: amqp.NotFound, Server: true})
	refused := fmt.Errorf("looking: %w", &amqp.Error{Code: amqp.AccessRefused, Server: true})
	log := &lines{}
	var told []bool
	w := newWorker(ConsumerOptions{
		Connection: rabbitmq.Options{Log: zerolog.New(log)},
		Refused:    func(source string, refused bool) { require.Equal(t, "theirs", source); told = append(told, refused) },
	}, event.Consumer{Queue: event.Queue{Name: "ours", Source: "theirs"}})
	s := newSource(w, time.Minute)
	for _, err := range []error{missing, refused, refused, missing, refused} {
		s.tell(false, err)
	}
	s.tell(true, nil)
	require.Equal(t, []bool{true, false, true, false}, told)
	require.Equal(t, 2, log.count(`"message":"refused;`))
	require.Equal(t, 2, log.count(`"level":"warn"`))
}
