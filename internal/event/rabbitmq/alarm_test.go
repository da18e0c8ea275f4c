package rabbitmq

import (
	"context"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

// holdBack keeps what we send, and delivers it when resumed: as a broker that has stopped reading does. What it sends
// comes through.
func holdBack(t *testing.T, proxy *toxiproxy.Proxy) (resume func()) {
	t.Helper()
	_, err := proxy.Toxics.AddToxicJson(strings.NewReader(
		`{"name":"alarm","type":"latency","stream":"upstream","attributes":{"latency":3600000}}`))
	require.NoError(t, err)
	return func() { thaw(proxy) }
}

// underAlarm: a message whose confirm an alarm delays is sent again later, with the same id; the connection stays.
func underAlarm(t *testing.T) {
	proxy, url := startProxy(t)
	q := newQueue(t, 1, 10)
	o := options(url, t.Name())
	o.Heartbeat = time.Minute // a real alarm lets them through
	p := runPublisher(t, NewPublisher(o, NewTopology([]event.Queue{q})))
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "warm")))
	live := p.live.Load()
	resume := holdBack(t, proxy)
	result := make(chan error, 1)
	go func() { result <- p.Send(context.Background(), []event.Message{messageTo(q, "in flight")})[0] }()
	require.Eventually(t, func() bool { // it is out before the broker says so, as with a real one
		return live.link.channel.GetNextPublishSeqNo() == 3
	}, 15*time.Second, time.Millisecond)
	live.alarm.reason.Store(new("low on memory"))
	require.ErrorIs(t, p.Send(context.Background(), []event.Message{messageTo(q, "not begun")})[0], event.ErrUnavailable)
	require.ErrorIs(t, eventtest.Next(t, result), event.ErrUnavailable)
	live.alarm.reason.Store(nil)
	resume()
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "in flight")))
	require.Same(t, live, p.live.Load())
	require.Equal(t, 3, ready(t, rawChannel(t), q.Name), "warm, and the same twice")
}
