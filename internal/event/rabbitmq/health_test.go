package rabbitmq

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

func check(p *Publisher, patience time.Duration) (ExchangeHealth, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.Check(ctx)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("before there is a connection", func(t *testing.T) {
		t.Parallel()
		_, err := check(NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{}), time.Second)
		require.ErrorIs(t, err, ErrNotConnected)
	})
	t.Run("says why the broker takes nothing", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
		s := &publishSession{publisher: p}
		p.live.Store(s)
		notices := make(chan amqp.Blocking, 1)
		notices <- amqp.Blocking{Active: true, Reason: "low on memory"}
		close(notices)
		s.alarm.Watch(notices, zerolog.Nop())
		_, err := check(p, time.Second)
		require.ErrorContains(t, err, "low on memory")
		_, err = p.Depths(context.Background(), nil)
		require.ErrorContains(t, err, "low on memory", "asked on a connection the broker does not read, it would wait")
	})
	t.Run("says for a while that nothing is confirmed, until something is", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{})
		p.unconfirmed.Store(time.Now().UnixNano())
		_, err := check(p, time.Second)
		require.Equal(t, ErrNoConfirms, err)
		for _, over := range []int64{0, time.Now().Add(-2 * doubtedFor).UnixNano()} {
			p.unconfirmed.Store(over)
			_, err = check(p, time.Second)
			require.ErrorIs(t, err, ErrNotConnected)
		}
	})
	t.Run("how full queues are is unknown without a connection", func(t *testing.T) {
		t.Parallel()
		_, err := NewPublisher(options("amqp://127.0.0.1:1", t.Name()), Topology{}).Depths(context.Background(), nil)
		require.ErrorIs(t, err, ErrNotConnected)
	})
}

func checkConnection(t *testing.T) {
	q := newQueue(t, 1, 1)
	proxy, url := startProxy(t)
	p := startPublisher(t, url, q)
	eventtest.SendAll(t, p, messageTo(q, "connected"))
	health, err := check(p, 5*time.Second)
	require.NoError(t, err)
	require.Equal(t, ExchangeHealth{Name: "smap.events", Type: "topic", Durable: true}, health)

	freeze(t, proxy)
	started := time.Now()
	_, err = check(p, 100*time.Millisecond)
	require.ErrorIs(t, err, ErrNoAnswer)
	require.Less(t, time.Since(started), 5*time.Second)

	proxy.Stop()
	require.Eventually(t, func() bool { _, err = check(p, time.Second); return err != nil }, 15*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return p.live.Load() == nil }, 15*time.Second, time.Millisecond)
	_, err = check(p, time.Second)
	require.ErrorIs(t, err, ErrNotConnected)

	thaw(proxy)
	require.NoError(t, proxy.Start())
	require.Eventually(t, func() bool { _, err = check(p, time.Second); return err == nil }, 15*time.Second, 5*time.Millisecond)
}

// checkWrongExchange needs a virtual host of its own: smap.events is shared.
func checkWrongExchange(t *testing.T) {
	brokerAddress := newVirtualHost(t)
	conn, err := rabbitmq.Dial(context.Background(), options(brokerAddress, t.Name()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	raw, err := conn.Channel()
	require.NoError(t, err)
	q := event.Queue{Name: "identity.email", Bindings: []string{"#"}, Retry: event.Policy{Levels: []time.Duration{time.Hour}}}
	p := startPublisher(t, brokerAddress, q)
	eventtest.SendAll(t, p, messageTo(q, "fine"))
	_, err = check(p, 5*time.Second)
	require.NoError(t, err)

	require.NoError(t, raw.ExchangeDelete(event.Exchange, false, false))
	require.NoError(t, raw.ExchangeDeclare(event.Exchange, amqp.ExchangeHeaders, true, false, false, false, nil))
	_, err = check(p, 5*time.Second)
	require.ErrorContains(t, err, "not a durable topic exchange")
	require.NotErrorIs(t, err, ErrNotConnected)
	require.NoError(t, p.Send(context.Background(), []event.Message{{
		ID: "evt_1", RoutingKey: q.Name, Mandatory: true,
	}})[0], "publishing to what exists goes on")

	later := startPublisher(t, brokerAddress, q) // a process that is started now gets no further than the topology
	require.Eventually(t, func() bool {
		_, err = check(later, 5*time.Second)
		return err != nil && strings.Contains(err.Error(), event.Exchange)
	}, 10*time.Second, 5*time.Millisecond, "the answer has to name the exchange")
	require.ErrorIs(t, err, ErrNotConnected)
}

// newVirtualHost returns the broker's URL with a virtual host that lives as long as the test.
func newVirtualHost(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(brokerURL(t))
	require.NoError(t, err)
	name := strings.ReplaceAll(newQueue(t, 1, 1).Name, ".", "-")
	manage(t, http.MethodPut, "/api/vhosts/"+name, "")
	t.Cleanup(func() { manage(t, http.MethodDelete, "/api/vhosts/"+name, "") })
	manage(t, http.MethodPut, "/api/permissions/"+name+"/"+u.User.Username(), `{"configure":".*","write":".*","read":".*"}`)
	u.Path = "/" + name
	return u.String()
}

// manage sends one request to the broker's management API.
func manage(t *testing.T, method, path, body string) {
	t.Helper()
	management := os.Getenv("RABBITMQ_MANAGEMENT_URL")
	require.NotEmpty(t, management, "INTEGRATION is set but RABBITMQ_MANAGEMENT_URL is not; run make test-integration")
	request, err := http.NewRequestWithContext(context.Background(), method, management+path, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Less(t, answer.StatusCode, 300, "%s %s", method, path)
}
