package rabbitmq

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// onServer runs cases on the server that RABBITMQ_URL names, when INTEGRATION is set (make test-integration). Every case
// has queues of its own, deleted afterwards.
func onServer(t *testing.T, cases map[string]func(*testing.T)) {
	t.Helper()
	if os.Getenv("INTEGRATION") == "" {
		return
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func TestConformance(t *testing.T) {
	onServer(t, map[string]func(*testing.T){"rabbitmq": conformance})
}

func brokerURL(t testing.TB) string {
	t.Helper()
	u := os.Getenv("RABBITMQ_URL")
	require.NotEmpty(t, u, "INTEGRATION is set but RABBITMQ_URL is not; run make test-integration")
	return u
}

func options(url, name string) rabbitmq.Options {
	return rabbitmq.Options{URL: url, Name: "test " + name, Log: zerolog.Nop()}
}

func conformance(t *testing.T) {
	eventtest.Conformance(t, func(t *testing.T, queues []event.Queue, drain time.Duration) eventtest.Subject {
		deleteAfter(t, queues...)
		p := startPublisher(t, brokerURL(t), queues...)
		return eventtest.Subject{
			Sender: p,
			Consume: func(ctx context.Context, consumers []event.Consumer) error {
				return NewConsumer(ConsumerOptions{
					Connection: options(brokerURL(t), t.Name()), Sender: p, Now: time.Now,
					DrainTimeout: drain, StaleAck: func(string) {},
				}, consumers).Run(ctx)
			},
			Dead: func(queue string) ([]event.DeadLetter, error) { return list(t, queue, queues...) },
		}
	})
}

// list walks over a dead queue and keeps everything.
func list(t testing.TB, queue string, queues ...event.Queue) (letters []event.DeadLetter, err error) {
	_, err = NewDeadLetters(options(brokerURL(t), t.Name()), queues).Walk(context.Background(), queue,
		func(l Letter) (Handling, error) {
			letters = append(letters, l.DeadLetter)
			return Keep, nil
		}, func(event.DeadLetter) {})
	return letters, err
}

// newQueue returns a queue of this test alone, bound to "<name>.#".
func newQueue(t testing.TB, workers, prefetch int, levels ...time.Duration) event.Queue {
	t.Helper()
	if len(levels) == 0 {
		levels = []time.Duration{time.Hour}
	}
	name := "identity.test." + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	q := event.Queue{
		Name: name, Bindings: []string{name + ".#"}, Workers: workers, Prefetch: prefetch,
		Retry: event.Policy{Levels: levels, GiveUpAfter: time.Hour},
	}
	deleteAfter(t, q)
	return q
}

func deleteAfter(t testing.TB, queues ...event.Queue) {
	t.Helper()
	t.Cleanup(func() {
		ch := rawChannel(t)
		deleteAll(t, ch, NewTopology(queues))
	})
}

// deleteAll takes away the topology's queues, and exchanges that are a test's own.
func deleteAll(t testing.TB, ch *amqp.Channel, topology Topology) {
	t.Helper()
	for _, q := range topology.queues {
		_, err := ch.QueueDelete(q.Name, false, false, false)
		require.NoError(t, err)
	}
	for _, e := range topology.exchanges {
		if e.Name != event.Exchange && e.Name != DeadLetterExchange {
			require.NoError(t, ch.ExchangeDelete(e.Name, false, false))
		}
	}
}

// declare makes the queues exist before any consumer or publisher runs.
func declare(t testing.TB, queues ...event.Queue) {
	t.Helper()
	lacks, err := NewTopology(queues).Declare(rawConnection(t, brokerURL(t)))
	require.NoError(t, err)
	require.Empty(t, lacks)
}

// rawChannel is a channel around everything that is tested, on a connection of its own.
func rawChannel(t testing.TB) *amqp.Channel {
	t.Helper()
	ch, err := rawConnection(t, brokerURL(t)).Channel()
	require.NoError(t, err)
	return ch
}

func rawConnection(t testing.TB, url string) *amqp.Connection {
	t.Helper()
	conn, err := rabbitmq.Dial(context.Background(), options(url, t.Name()+" raw"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// rawGet waits for a message of queue and takes it, unacked.
func rawGet(t testing.TB, ch *amqp.Channel, queue string) amqp.Delivery {
	t.Helper()
	var d amqp.Delivery
	require.Eventually(t, func() bool {
		var ok bool
		var err error
		d, ok, err = ch.Get(queue, false)
		require.NoError(t, err)
		return ok
	}, 10*time.Second, 10*time.Millisecond, "no message in %s", queue)
	return d
}

// ready is how many messages lie in queue, the unacked ones not counted.
func ready(t testing.TB, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

// startPublisher runs a publisher until the test ends.
func startPublisher(t testing.TB, url string, queues ...event.Queue) *Publisher {
	t.Helper()
	return runPublisher(t, NewPublisher(options(url, t.Name()), NewTopology(queues)))
}

func runPublisher(t testing.TB, p *Publisher) *Publisher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, eventtest.Next(t, ended))
	})
	return p
}

// running is a Consumer at work.
type running struct {
	*Consumer
	*eventtest.Observer
	stale atomic.Int64
	end   context.CancelFunc
	ended chan error
}

func startConsumer(t testing.TB, url string, sender event.Sender, drain time.Duration, q event.Queue,
	handle func(context.Context, event.Delivery) error) *running {
	t.Helper()
	return startConsumerOn(t, options(url, t.Name()), sender, drain, q, handle)
}

func startConsumerOn(t testing.TB, o rabbitmq.Options, sender event.Sender, drain time.Duration, q event.Queue,
	handle func(context.Context, event.Delivery) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Observer: eventtest.NewObserver(), end: cancel, ended: make(chan error, 1)}
	r.Consumer = NewConsumer(ConsumerOptions{
		Connection: o, Sender: sender, Now: time.Now,
		DrainTimeout: drain, StaleAck: func(string) { r.stale.Add(1) },
	}, []event.Consumer{{Queue: q, Handle: handle, Observer: r.Observer}})
	go func() { defer close(r.ended); r.ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-r.ended) // nil as well when stop has already taken the answer
	})
	return r
}

func (r *running) stop(t testing.TB) {
	t.Helper()
	r.end()
	require.NoError(t, eventtest.Next(t, r.ended))
}

func (r *running) awaitConsuming(t testing.TB, want bool) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Consuming() == want }, 15*time.Second, 2*time.Millisecond)
}

func messageTo(q event.Queue, id string) event.Message {
	return event.Message{
		ID: id, Exchange: event.Exchange, RoutingKey: q.Name + ".key", ContentType: "application/json", Mandatory: true,
		Headers: map[string]string{}, Body: []byte(`{"event_id":"` + id + `"}`),
	}
}

// startProxy puts a TCP proxy before the broker and returns the broker's URL through it. Stop cuts every connection
// and refuses new ones, Start takes them again.
func startProxy(t testing.TB) (*toxiproxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(brokerURL(t))
	require.NoError(t, err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", u.Host)
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	u.Host = proxy.Listen
	return proxy, u.String()
}

// freeze lets no byte through any more, in either direction, while every connection looks alive.
func freeze(t testing.TB, proxy *toxiproxy.Proxy) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := proxy.Toxics.AddToxicJson(strings.NewReader(
			`{"name":"` + stream + `","type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`))
		require.NoError(t, err)
	}
}

func thaw(proxy *toxiproxy.Proxy) { proxy.Toxics.ResetToxics(context.Background()) }
