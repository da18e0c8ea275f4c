package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

func TestPublisher(t *testing.T) {
	t.Parallel()
	t.Run("without a connection everything is unavailable at once", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
		for _, err := range p.Send(context.Background(), make([]event.Message, 3)) {
			require.ErrorIs(t, err, event.ErrUnavailable)
		}
		require.Empty(t, p.Send(context.Background(), nil))
	})
	t.Run("a send on a connection that takes nothing ends with its context", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
		p.live.Store(&publishSession{ended: make(chan struct{})}) // nobody reads its requests
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, err := range p.Send(ctx, make([]event.Message, 2)) {
			require.ErrorIs(t, err, event.ErrUnavailable)
			require.ErrorIs(t, err, context.Canceled)
		}
	})
	t.Run("a blocked broker is sent nothing", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
		s := &publishSession{publisher: p, ended: make(chan struct{})} // nobody reads its requests
		s.alarm.reason.Store(new("low on memory"))
		p.live.Store(s)
		for _, err := range p.Send(context.Background(), make([]event.Message, 2)) {
			require.ErrorIs(t, err, event.ErrUnavailable)
		}
		var results []error // and when the notice comes after the message was handed over:
		err := s.publishOne(request{message: &event.Message{}, done: func(err error) { results = append(results, err) }})
		require.NoError(t, err, "the session goes on")
		require.Equal(t, []error{event.ErrUnavailable}, results)
	})
	onServer(t, map[string]func(*testing.T){
		"a message carries its properties":                         messageProperties,
		"a result is nil only for what was confirmed":              confirmWait,
		"confirmed messages survive cuts":                          confirmedSurviveCuts,
		"returns are matched among pipelined publishes":            returnsMatched,
		"a window full of returns blocks nothing":                  windowOfReturns,
		"a deleted binding is returned, then healed":               deletedBinding,
		"an exchange that is in no topology is never published to": unknownExchange,
		"a full queue refuses":                                     refused,
		"a limit that is gone refuses nothing any more":            refusalEnds,
		"a message delayed by an alarm is sent again":              underAlarm,
		"check: connected, frozen, gone":                           checkConnection,
		"check: wrong exchange":                                    checkWrongExchange,
	})
}

func TestToPublishing(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	m := event.Message{
		ID: "evt_1", Exchange: event.Exchange, RoutingKey: "email.x", ContentType: "application/json", Timestamp: when,
		Headers: map[string]string{event.HeaderTraceparent: "00-1"}, Body: []byte("{}"),
	}
	want := amqp.Publishing{
		MessageId: "evt_1", Type: "email.x", ContentType: "application/json", DeliveryMode: amqp.Persistent,
		AppId: "identity", Timestamp: when, Headers: amqp.Table{event.HeaderTraceparent: "00-1"}, Body: []byte("{}"),
	}
	require.Equal(t, want, ToPublishing(m))
	moved := ToPublishing(m.Moved("q.retry.1s", map[string]string{event.HeaderRoutingKey: "email.x"}))
	require.Equal(t, "email.x", moved.Type, "the type stays the event's key, wherever the message travels")
	require.Empty(t, moved.Expiration)
}

func TestToMessage(t *testing.T) {
	t.Parallel()
	m := ToMessage(amqp.Delivery{
		MessageId: "evt_1", Exchange: "", RoutingKey: "q", Headers: amqp.Table{
			"text": "a", "number": int64(7), "yes": true, "nested": amqp.Table{"a": "b"}, "list": []any{"a"}, "nothing": nil,
			"x-death": []any{amqp.Table{}}, "x-delivery-count": int64(3), "x-first-death-queue": "q",
			"x-last-death-reason": "expired", event.HeaderRoutingKey: "email.x", event.HeaderAttempts: "2",
		},
	})
	require.Equal(t, map[string]string{
		"text": "a", "number": "7", "yes": "true", event.HeaderRoutingKey: "email.x", event.HeaderAttempts: "2",
	}, m.Headers, "the broker's own headers and what is not plain do not travel on")
	require.Equal(t, "email.x", m.RoutingKey)
	require.Equal(t, 3, handedOut(amqp.Delivery{Headers: amqp.Table{"x-delivery-count": int64(3)}}))
	require.Zero(t, handedOut(amqp.Delivery{}))
}

func unknownExchange(t *testing.T) {
	q := newQueue(t, 1, 10)
	p := startPublisher(t, brokerURL(t), q)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "warm")))
	live := p.live.Load()
	lost := messageTo(q, "lost")
	lost.Exchange = q.Name + ".nobody"
	results := p.Send(context.Background(), []event.Message{messageTo(q, "before"), lost, messageTo(q, "after"), lost})
	require.NoError(t, results[0])
	require.NoError(t, results[2])
	for _, i := range []int{1, 3} {
		require.ErrorIs(t, results[i], event.ErrUnroutable)
		require.ErrorContains(t, results[i], lost.Exchange)
	}
	require.Same(t, live, p.live.Load(), "the broker, which would close the channel, has not seen it")
}

func messageProperties(t *testing.T) {
	q := newQueue(t, 1, 1, 50*time.Millisecond)
	raw := rawChannel(t)
	p := startPublisher(t, brokerURL(t), q)
	m := messageTo(q, "evt_1")
	m.Timestamp = time.Now().UTC().Truncate(time.Second)
	m.Headers[event.HeaderTraceparent] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	retried := m.Moved(q.RetryQueue(0), map[string]string{event.HeaderRoutingKey: m.RoutingKey, event.HeaderAttempts: "1"})
	for _, sent := range []event.Message{m, retried} {
		require.Equal(t, []error{nil}, eventtest.SendAll(t, p, sent))
		d := rawGet(t, raw, q.Name)
		require.Equal(t, m.ID, d.MessageId)
		require.Equal(t, m.RoutingKey, d.Type)
		require.Equal(t, "application/json", d.ContentType)
		require.Equal(t, "identity", d.AppId)
		require.EqualValues(t, amqp.Persistent, d.DeliveryMode)
		require.Empty(t, d.Expiration)
		require.True(t, m.Timestamp.Equal(d.Timestamp))
		require.Equal(t, m.Headers[event.HeaderTraceparent], d.Headers[event.HeaderTraceparent])
		require.NoError(t, d.Ack(false))
	}
}

// confirmWait: a frozen broker takes bytes into its socket and answers nothing. No result may be nil.
func confirmWait(t *testing.T) {
	q := newQueue(t, 1, 1)
	proxy, url := startProxy(t)
	o := options(url, t.Name())
	o.Heartbeat = time.Minute // the confirm's own deadline has to notice, not the heartbeat
	p := NewPublisher(o, NewTopology([]event.Queue{q}))
	run(t, p.Run)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "before")))

	freeze(t, proxy)
	started := time.Now()
	for _, err := range p.Send(context.Background(), []event.Message{messageTo(q, "one"), messageTo(q, "two")}) {
		require.ErrorIs(t, err, event.ErrUnavailable)
	}
	require.Less(t, time.Since(started), 2*confirmTimeout)
	thaw(proxy)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "after")))
	require.Equal(t, 2, ready(t, rawChannel(t), q.Name))
}

// run keeps something running until the test ends.
func run(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, eventtest.Next(t, ended))
	})
}

func confirmedSurviveCuts(t *testing.T) {
	q := newQueue(t, 1, 1)
	proxy, url := startProxy(t)
	p := startPublisher(t, url, q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	confirmed := map[string]bool{"warm": true}
	unknown := 0
	for round := range 3 {
		batch := make([]event.Message, 400)
		for i := range batch {
			batch[i] = messageTo(q, fmt.Sprintf("%d-%d", round, i))
		}
		var sending sync.WaitGroup
		var results []error
		half := make(chan struct{})
		sending.Go(func() {
			results = p.Send(context.Background(), batch[:200])
			close(half)
			results = append(results, p.Send(context.Background(), batch[200:])...)
		})
		<-half
		proxy.Stop() // somewhere in the second half
		sending.Wait()
		require.NoError(t, proxy.Start())
		for i, err := range results {
			if err == nil {
				confirmed[batch[i].ID] = true
				continue
			}
			require.ErrorIs(t, err, event.ErrUnavailable, "never unroutable or refused: a cut says nothing about the message")
			unknown++
		}
		eventtest.SendAll(t, p, messageTo(q, "warm")) // connected again
	}
	require.NotZero(t, unknown, "no cut hit anything; the test proves nothing")
	raw := rawChannel(t)
	for {
		d, ok, err := raw.Get(q.Name, true)
		require.NoError(t, err)
		if !ok {
			break
		}
		delete(confirmed, d.MessageId)
	}
	require.Empty(t, confirmed, "confirmed and not there")
}

func returnsMatched(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	const n, senders = 10_000, 4
	results := make([]error, n)
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			var batch []event.Message
			for i := s; i < n; i += senders {
				m := messageTo(q, fmt.Sprint(i))
				if i%7 == 0 {
					m.RoutingKey = "nobody." + q.Name
				}
				batch = append(batch, m)
			}
			for i, err := range p.Send(context.Background(), batch) {
				results[s+i*senders] = err
			}
		})
	}
	sending.Wait()
	unroutable := 0
	for i, err := range results {
		if i%7 != 0 {
			require.NoError(t, err, "message %d", i)
			continue
		}
		unroutable++
		require.ErrorIs(t, err, event.ErrUnroutable, "message %d", i)
	}
	require.Equal(t, 1+n-unroutable, ready(t, rawChannel(t), q.Name))
}

// windowOfReturns: as many returns as can be on their way at once, all before the first confirm is looked at.
func windowOfReturns(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	batch := make([]event.Message, 8*window)
	for i := range batch {
		batch[i] = messageTo(q, fmt.Sprint(i))
		batch[i].RoutingKey = "nobody." + q.Name
	}
	started := time.Now()
	for i, err := range p.Send(context.Background(), batch) {
		require.ErrorIs(t, err, event.ErrUnroutable, "message %d", i)
	}
	require.Less(t, time.Since(started), confirmTimeout)
}

func deletedBinding(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	raw := rawChannel(t)
	require.NoError(t, raw.QueueUnbind(q.Name, q.Bindings[0], event.Exchange, nil))
	require.ErrorIs(t, p.Send(context.Background(), []event.Message{messageTo(q, "lost")})[0], event.ErrUnroutable)
	require.Eventually(t, func() bool {
		return p.Send(context.Background(), []event.Message{messageTo(q, "healed")})[0] == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func refused(t *testing.T) {
	q := newQueue(t, 1, 1)
	name := q.Name + ".full"
	raw := rawChannel(t)
	_, err := raw.QueueDeclare(name, false, false, false, false, amqp.Table{
		"x-max-length": 1, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = raw.QueueDelete(name, false, false, false) })
	p := startPublisher(t, brokerURL(t), q)
	m := messageTo(q, "full")
	m.Exchange, m.RoutingKey = "", name
	results := eventtest.SendAll(t, p, m, m, m)
	require.NoError(t, results[0])
	require.ErrorIs(t, errors.Join(results[1:]...), event.ErrRefused)
}

// refusalEnds: a limit that a policy has set is gone, and so is what the broker remembers of it for a channel.
func refusalEnds(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	m, err := openManagement(brokerURL(t), os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	require.NoError(t, err)
	response, err := m.client.PutPolicy(m.vhost, q.Name, rabbithole.Policy{
		Pattern: "^" + regexp.QuoteMeta(q.Name) + "$", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"max-length": 0},
	})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	remove := func() {
		if response, err := m.client.DeletePolicy(m.vhost, q.Name); err == nil {
			_ = response.Body.Close()
		}
	}
	t.Cleanup(remove)
	send := func() error { return p.Send(context.Background(), []event.Message{messageTo(q, "limited")})[0] }
	require.Eventually(t, func() bool { return errors.Is(send(), event.ErrRefused) }, 30*time.Second, 100*time.Millisecond)
	remove()
	live := p.live.Load()
	require.Eventually(t, func() bool { return send() == nil }, 30*time.Second, 100*time.Millisecond)
	require.Same(t, live, p.live.Load(), "on the same connection")
}
