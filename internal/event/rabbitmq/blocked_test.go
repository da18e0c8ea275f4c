package rabbitmq

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

func TestABlockedBrokerIsSentNothing(t *testing.T) {
	t.Parallel()
	p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
	s := &publishSession{ended: make(chan struct{})} // nobody reads its requests
	s.blocked.Store(new("low on memory"))
	p.live.Store(s)
	for _, err := range p.Send(context.Background(), make([]event.Message, 2)) {
		require.ErrorIs(t, err, event.ErrUnavailable)
	}
	var results []error // and when the word comes after the message was handed over:
	err := s.publishOne(context.Background(), request{message: &event.Message{}, done: func(err error) { results = append(results, err) }})
	require.NoError(t, err, "the session goes on")
	require.Equal(t, []error{event.ErrUnavailable}, results)
}

// TestABrokerThatIsSilentAfterItsAlarmIsGone: one that takes messages again and does not confirm is a dead connection
// like any other.
func TestABrokerThatIsSilentAfterItsAlarmIsGone(t *testing.T) {
	t.Parallel()
	s := &publishSession{}
	s.blocked.Store(new("low on memory"))
	p := pending{request: request{ctx: context.Background()}, confirm: &amqp.DeferredConfirmation{}} // never done
	var cause atomic.Pointer[error]
	result := make(chan error, 1)
	go func() { result <- s.outlast(p, 5*time.Millisecond, func(err error) { cause.Store(&err) }) }()
	select {
	case err := <-result:
		require.Fail(t, "the alarm is not over", "%v", err)
	case <-time.After(50 * time.Millisecond): // time itself is what this needs
	}
	s.blocked.Store(nil)
	require.ErrorIs(t, eventtest.Next(t, result), event.ErrUnavailable)
	require.ErrorIs(t, *cause.Load(), errNoConfirm)
}

// holdBack keeps what we send, and delivers it when resumed: as a broker that has stopped reading does. What it sends
// comes through.
func holdBack(t *testing.T, proxy *toxiproxy.Proxy) (resume func()) {
	t.Helper()
	_, err := proxy.Toxics.AddToxicJson(strings.NewReader(
		`{"name":"alarm","type":"latency","stream":"upstream","attributes":{"latency":3600000}}`))
	require.NoError(t, err)
	return func() { thaw(proxy) }
}

// alarmed is a publisher on a connection that a broker has stopped reading after one message, and that message's result.
type alarmed struct {
	*Publisher
	event.Queue
	session *publishSession
	resume  func()
	result  chan error
}

// underAlarm sends a message to a broker that does not read on, waits until its confirm is overdue, and answers what is.
func underAlarm(t *testing.T, ctx context.Context, single bool) alarmed {
	t.Helper()
	proxy, url := startProxy(t)
	q, previous := sourced(t, newQueue(t, 1, 10))
	o := options(url, t.Name())
	o.Heartbeat = time.Minute // a real alarm lets them through
	p := NewPublisher(o, NewTopology([]event.Queue{q}), Other{Topology: previous})
	p.freshFor = time.Hour
	runPublisher(t, p)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, copyTo(q, "warm")))
	a := alarmed{p, q, p.live.Load(), holdBack(t, proxy), make(chan error, 1)}
	m := copyTo(q, "in flight")
	m.Single = single
	started := time.Now()
	go func() { a.result <- p.Send(ctx, []event.Message{m})[0] }()
	require.Eventually(t, func() bool { // it is out before the broker says so, as with a real one
		return a.session.channel.GetNextPublishSeqNo() == 3
	}, 15*time.Second, time.Millisecond)
	a.session.blocked.Store(new("low on memory"))
	for range 3 {
		require.Equal(t, []error{event.ErrUnavailable}, send(p, copyTo(q, "not begun")))
	}
	select {
	case err := <-a.result:
		require.False(t, single, "answered %v", err)
		a.result <- err
	case <-time.After(confirmTimeout + time.Second - time.Since(started)): // time itself is what this needs
		require.True(t, single, "not answered")
	}
	require.Same(t, a.session, p.live.Load(), "the connection stays")
	return a
}

func (a alarmed) over() {
	a.session.blocked.Store(nil)
	a.resume()
}

// blockedSingle: an alarm longer than a confirm may take repeats nothing to readers who would not notice.
func blockedSingle(t *testing.T) {
	a := underAlarm(t, context.Background(), true)
	a.over()
	require.NoError(t, eventtest.Next(t, a.result))
	require.Equal(t, []error{nil}, eventtest.SendAll(t, a.Publisher, copyTo(a.Queue, "after")))
	require.Same(t, a.session, a.live.Load())
	require.Equal(t, 3, ready(t, rawChannel(t), a.Source), "warm, in flight, after: each once")
}

// blockedGivenUp: whoever cannot wait any longer is told what is true, that nobody knows.
func blockedGivenUp(t *testing.T) {
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	a := underAlarm(t, ctx, true)
	giveUp()
	require.ErrorIs(t, eventtest.Next(t, a.result), event.ErrUnavailable)
	require.Same(t, a.session, a.live.Load())
	a.over()
	require.Eventually(t, func() bool { return ready(t, rawChannel(t), a.Source) == 2 }, 15*time.Second, 20*time.Millisecond)
}

// blockedOthers: what has an id that its readers know is sent again later; the connection is not to blame.
func blockedOthers(t *testing.T) {
	a := underAlarm(t, context.Background(), false)
	require.ErrorIs(t, eventtest.Next(t, a.result), event.ErrUnavailable)
	a.over()
	require.Equal(t, []error{nil}, eventtest.SendAll(t, a.Publisher, copyTo(a.Queue, "in flight")))
	require.Same(t, a.session, a.live.Load())
	require.Equal(t, 3, ready(t, rawChannel(t), a.Source), "warm, and the same twice")
}
