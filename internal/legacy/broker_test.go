package legacy

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// onServer runs cases on the server that RABBITMQ_URL names, when INTEGRATION is set (make test-integration). Every case
// has a virtual host of its own: the previous release's names are fixed.
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

func managementURL(t testing.TB) string {
	t.Helper()
	u := os.Getenv("RABBITMQ_MANAGEMENT_URL")
	require.NotEmpty(t, u, "INTEGRATION is set but RABBITMQ_MANAGEMENT_URL is not; run make test-integration")
	return u
}

// newVirtualHost returns the broker's URL with a virtual host that lives as long as the test.
func newVirtualHost(t testing.TB) string {
	t.Helper()
	broker := os.Getenv("RABBITMQ_URL")
	require.NotEmpty(t, broker, "INTEGRATION is set but RABBITMQ_URL is not; run make test-integration")
	u, err := url.Parse(broker)
	require.NoError(t, err)
	name := "legacy-" + uuid.NewString()
	manage := func(method, path, body string) {
		request, err := http.NewRequestWithContext(context.Background(), method, managementURL(t)+path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Less(t, response.StatusCode, 300, "%s %s", method, path)
	}
	manage(http.MethodPut, "/api/vhosts/"+name, "")
	t.Cleanup(func() { manage(http.MethodDelete, "/api/vhosts/"+name, "") })
	manage(http.MethodPut, "/api/permissions/"+name+"/"+u.User.Username(), `{"configure":".*","write":".*","read":".*"}`)
	u.Path = "/" + name
	return u.String()
}

func options(broker, name string, log *lines) rabbitmq.Options {
	o := rabbitmq.Options{URL: broker, Name: "test " + name, Log: zerolog.Nop()}
	if log != nil {
		o.Log = zerolog.New(log)
	}
	return o
}

// rawChannel is a channel around everything that is tested, on a connection of its own.
func rawChannel(t testing.TB, broker string) *amqp.Channel {
	t.Helper()
	conn, err := rabbitmq.Dial(context.Background(), options(broker, "raw", nil))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// ready returns how many messages lie in queue, the unacked ones not counted.
func ready(t testing.TB, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

func awaitReady(t testing.TB, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return ready(t, ch, queue) == n }, 15*time.Second, time.Millisecond)
}

func awaitReaders(t testing.TB, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		require.NoError(t, err)
		return q.Consumers == n
	}, 15*time.Second, time.Millisecond)
}

// get waits for a message of queue and takes it, unacked.
func get(t testing.TB, ch *amqp.Channel, queue string) (d amqp.Delivery) {
	t.Helper()
	require.Eventually(t, func() bool {
		var ok bool
		var err error
		d, ok, err = ch.Get(queue, false)
		require.NoError(t, err)
		return ok
	}, 10*time.Second, 5*time.Millisecond, "no message in %s", queue)
	return d
}

// copyNamed is a message to the old exchange.
func copyNamed(id string) event.Message {
	return copyOf(id, time.Time{}, []byte(`{"Subject":"`+id+`"}`), map[string]string{})
}

// publishRaw publishes and waits for the broker to have it.
func publishRaw(t testing.TB, ch *amqp.Channel, messages ...event.Message) {
	t.Helper()
	require.NoError(t, ch.Confirm(false))
	for _, m := range messages {
		confirm, err := ch.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, true, false, eventmq.ToPublishing(m))
		require.NoError(t, err)
		require.True(t, confirm.Wait())
	}
}

// oldConsumer reads as the previous release does: no limit to what it is handed, no arguments.
func oldConsumer(t testing.TB, ch *amqp.Channel) <-chan amqp.Delivery {
	t.Helper()
	deliveries, err := ch.Consume(Queue, "old", false, false, false, false, nil)
	require.NoError(t, err)
	return deliveries
}

// exchangeThere reports whether the old exchange exists.
func exchangeThere(t testing.TB, broker string) bool {
	t.Helper()
	return rawChannel(t, broker).ExchangeDeclarePassive(Exchange, amqp.ExchangeFanout, true, false, false, false, nil) == nil
}

// startProxy puts a TCP proxy before the broker and returns the broker's URL through it. Stop cuts every connection and
// refuses new ones, Start accepts them again.
func startProxy(t testing.TB, broker string) (*toxiproxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(broker)
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

// holdBack keeps what we send, and delivers it when thawed: as a broker that has stopped reading does. What it sends
// comes through.
func holdBack(t testing.TB, proxy *toxiproxy.Proxy) {
	t.Helper()
	_, err := proxy.Toxics.AddToxicJson(strings.NewReader(
		`{"name":"alarm","type":"latency","stream":"upstream","attributes":{"latency":3600000}}`))
	require.NoError(t, err)
}

func thaw(proxy *toxiproxy.Proxy) { proxy.Toxics.ResetToxics(context.Background()) }

// run keeps something running until the test ends or stop is called.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, eventtest.Next(t, ended))
	})
	t.Cleanup(stop)
	return stop
}

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
