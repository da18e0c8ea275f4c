package rabbitmq

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

// onDemand answers a running publisher that declares q, and what is before q's source once it is asked for.
func onDemand(t *testing.T, url string) (*Publisher, event.Queue, Topology) {
	t.Helper()
	q, previous := sourced(t, newQueue(t, 1, 10))
	q.Bindings = []string{q.Name + ".#"}
	p := NewPublisher(options(url, t.Name()), NewTopology([]event.Queue{q}), Other{Topology: previous})
	p.freshFor = time.Hour // declared once: what happens later is not left to the speed of this machine
	runPublisher(t, p)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "warm")))
	return p, q, previous
}

// besideAnother: somebody else is bound to the exchange, so that the broker confirms and returns nothing when only he
// gets the message. Whatever of ours has gone is there again before the next is sent.
func besideAnother(t *testing.T) {
	raw := rawChannel(t)
	for _, atOnce := range []bool{true, false} {
		q, previous := sourced(t, newQueue(t, 1, 10))
		p := NewPublisher(options(brokerURL(t), t.Name()), NewTopology([]event.Queue{q}), Other{previous, atOnce})
		require.Equal(t, time.Second, p.freshFor)
		p.freshFor = time.Nanosecond
		runPublisher(t, p)
		require.Equal(t, []error{nil}, eventtest.SendAll(t, p, copyTo(q, "first")))
		session := p.live.Load()
		other, err := raw.QueueDeclare("", false, true, true, false, nil)
		require.NoError(t, err)
		require.NoError(t, raw.QueueBind(other.Name, "", q.Source, false, nil))
		for i, vanish := range []func() error{
			func() error { return raw.QueueUnbind(q.Source, "", q.Source, nil) },
			func() error { _, err := raw.QueueDelete(q.Source, false, false, false); return err },
			func() error { // which takes the other binding with it, and is our channel's end without being asked first
				_, err := raw.QueueDelete(q.Source, false, false, false)
				return cmp.Or(err, raw.ExchangeDelete(q.Source, false, false))
			},
		} {
			before := ready(t, raw, q.Source)
			require.NoError(t, vanish())
			id := fmt.Sprint("after ", i)
			require.NoError(t, send(p, copyTo(q, id))[0])
			if i > 0 {
				before = 0
			}
			require.Equal(t, before+1, ready(t, raw, q.Source), id)
		}
		require.Same(t, session, p.live.Load())
	}
}

func send(p *Publisher, messages ...event.Message) []error {
	return p.Send(context.Background(), messages)
}

// exchangeThere tells whether the exchange exists.
func exchangeThere(t testing.TB, name string) bool {
	t.Helper()
	return rawChannel(t).ExchangeDeclarePassive(name, amqp.ExchangeFanout, true, false, false, false, nil) == nil
}

func onDemandFirst(t *testing.T) {
	p, q, _ := onDemand(t, brokerURL(t))
	require.False(t, exchangeThere(t, q.Source), "declared without being asked for")
	for _, err := range send(p, messageTo(q, "before"), copyTo(q, "first"), copyTo(q, "second"), messageTo(q, "after")) {
		require.NoError(t, err)
	}
	raw := rawChannel(t)
	require.Equal(t, 2, ready(t, raw, q.Source))
	require.Equal(t, 3, ready(t, raw, q.Name))
	require.True(t, exchangeThere(t, q.Source))
}

func onDemandUnknown(t *testing.T) {
	p, q, _ := onDemand(t, brokerURL(t))
	session := p.live.Load()
	lost := copyTo(q, "lost")
	lost.Exchange = q.Name + ".nobody"
	results := send(p, messageTo(q, "before"), lost, messageTo(q, "after"), lost)
	require.NoError(t, results[0])
	require.ErrorIs(t, results[1], event.ErrUnroutable)
	require.ErrorContains(t, results[1], lost.Exchange)
	require.NoError(t, results[2])
	require.ErrorIs(t, results[3], event.ErrUnroutable)
	require.NoError(t, send(p, messageTo(q, "and again"))[0])
	require.Same(t, session, p.live.Load(), "the broker has not been bothered with it")
	require.False(t, exchangeThere(t, lost.Exchange))
}

// onDemandDeletedExchange: publishing to it closes the channel. One connection later everything goes on.
func onDemandDeletedExchange(t *testing.T) {
	p, q, previous := onDemand(t, brokerURL(t))
	raw := rawChannel(t)
	require.NoError(t, send(p, copyTo(q, "declares"))[0])
	session := p.live.Load()
	deleteAll(t, raw, previous)
	require.ErrorIs(t, send(p, copyTo(q, "late"))[0], event.ErrUnavailable)
	require.Eventually(t, func() bool { s := p.live.Load(); return s != nil && s != session }, 15*time.Second, time.Millisecond,
		"nobody has to send a message for the connection to be rebuilt")
	for _, err := range eventtest.SendAll(t, p, messageTo(q, "own"), copyTo(q, "late")) {
		require.NoError(t, err)
	}
	require.Equal(t, "late", rawGet(t, raw, q.Source).MessageId)
	require.Equal(t, 2, ready(t, raw, q.Name))
}

func onDemandDeletedQueue(t *testing.T) {
	p, q, _ := onDemand(t, brokerURL(t))
	raw := rawChannel(t)
	require.NoError(t, send(p, copyTo(q, "declares"))[0])
	session := p.live.Load()
	_, err := raw.QueueDelete(q.Source, false, false, false)
	require.NoError(t, err)
	require.ErrorIs(t, send(p, copyTo(q, "late"))[0], event.ErrUnroutable)
	require.Eventually(t, func() bool { return send(p, copyTo(q, "late"))[0] == nil }, 15*time.Second, 20*time.Millisecond)
	require.Equal(t, "late", rawGet(t, raw, q.Source).MessageId)
	require.Same(t, session, p.live.Load())
}

// onDemandStaysDeleted: what was cleaned up does not come back because something else is missing.
func onDemandStaysDeleted(t *testing.T) {
	p, q, previous := onDemand(t, brokerURL(t))
	raw := rawChannel(t)
	require.NoError(t, send(p, copyTo(q, "declares"))[0])
	deleteAll(t, raw, previous)
	require.NoError(t, raw.QueueUnbind(q.Name, q.Bindings[0], event.Exchange, nil))
	require.ErrorIs(t, send(p, messageTo(q, "returned"))[0], event.ErrUnroutable)
	require.Eventually(t, func() bool { return send(p, messageTo(q, "healed"))[0] == nil }, 15*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool { return !p.live.Load().declarations[0].healing.Load() }, 15*time.Second, time.Millisecond)
	require.False(t, exchangeThere(t, q.Source))
}

func onDemandRefused(t *testing.T) {
	p, q, _ := onDemand(t, brokerURL(t))
	raw := rawChannel(t)
	require.NoError(t, raw.ExchangeDeclare(q.Source, amqp.ExchangeDirect, true, false, false, false, nil))
	session := p.live.Load()
	results := send(p, messageTo(q, "before"), copyTo(q, "waits"), copyTo(q, "waits too"), messageTo(q, "after"))
	require.NoError(t, results[0])
	require.NoError(t, results[3])
	for _, err := range results[1:3] {
		require.ErrorIs(t, err, event.ErrUnroutable)
		require.NotErrorIs(t, err, event.ErrUnavailable)
		require.ErrorContains(t, err, "PRECONDITION_FAILED")
	}
	require.Same(t, results[1], results[2], "the broker was asked once")
	require.NoError(t, raw.ExchangeDelete(q.Source, false, false))
	require.Eventually(t, func() bool { return send(p, copyTo(q, "waits"))[0] == nil }, 15*time.Second, 20*time.Millisecond)
	require.Same(t, session, p.live.Load())
}

// atOnce: it is there before anybody sends to it, and a refusal is nobody else's affair.
func atOnce(t *testing.T) {
	url, raw := brokerURL(t), rawChannel(t)
	q, previous := sourced(t, newQueue(t, 1, 10))
	runPublisher(t, NewPublisher(options(url, t.Name()), NewTopology([]event.Queue{q}), Other{previous, true}))
	require.Eventually(t, func() bool { return exchangeThere(t, q.Source) }, 15*time.Second, time.Millisecond)

	refused, previous := sourced(t, newQueue(t, 1, 10))
	require.NoError(t, raw.ExchangeDeclare(refused.Source, amqp.ExchangeDirect, true, false, false, false, nil))
	p := runPublisher(t, NewPublisher(options(url, t.Name()), NewTopology([]event.Queue{refused}), Other{previous, true}))
	own := messageTo(refused, "goes").Moved(refused.Name, nil)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, own))
	results := send(p, copyTo(refused, "waits"), own)
	require.ErrorIs(t, results[0], event.ErrUnroutable)
	require.NoError(t, results[1])
}

// onDemandFrozen: the declaration hangs. Nobody is told that the message was at fault.
func onDemandFrozen(t *testing.T) {
	proxy, url := startProxy(t)
	q, previous := sourced(t, newQueue(t, 1, 10))
	o := options(url, t.Name())
	o.Heartbeat = time.Minute // the declaration's own deadline has to notice, not the heartbeat
	p := runPublisher(t, NewPublisher(o, NewTopology([]event.Queue{q}), Other{Topology: previous}))
	own := messageTo(q, "own").Moved(q.Name, nil)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, own))
	freeze(t, proxy)
	started := time.Now()
	results := send(p, copyTo(q, "late"), own)
	for _, err := range results {
		require.ErrorIs(t, err, event.ErrUnavailable)
		require.NotErrorIs(t, err, event.ErrUnroutable)
	}
	require.ErrorIs(t, results[0], ErrNoAnswer)
	require.Less(t, time.Since(started), 2*confirmTimeout)
	thaw(proxy)
	require.Equal(t, []error{nil, nil}, eventtest.SendAll(t, p, copyTo(q, "late"), own))
	require.Equal(t, 1, ready(t, rawChannel(t), q.Source))
}
