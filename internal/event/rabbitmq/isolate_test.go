package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

func TestIsolate(t *testing.T) {
	t.Parallel()
	onServer(t, map[string]func(*testing.T){
		"messages that close the channel are found among good ones":    culpritsAmongGood,
		"one message that closes the channel is at fault alone":        culpritAlone,
		"a known culprit leaves what else is published alone":          knownCulprit,
		"a refused routing key holds no other up":                      refusedKey,
		"a deleted exchange is declared anew and says nothing of them": deletedExchange,
		"a message that cannot be written does not reach the library":  unwritable,
	})
}

func rejected(err error) bool { return errors.Is(err, event.ErrRejected) }

// culprit returns a message for which the broker closes the channel: its CC header is not a list.
func culprit(q event.Queue, id string) event.Message {
	m := messageTo(q, id)
	m.Headers["CC"] = "everybody"
	return m
}

func culpritsAmongGood(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "warm")))
	live := p.live.Load()
	bad := []int{0, 100, 101, 350, 504}
	batch := make([]event.Message, 505)
	for i := range batch {
		batch[i] = messageTo(q, fmt.Sprint(i))
		if slices.Contains(bad, i) {
			batch[i] = culprit(q, fmt.Sprint(i))
		}
	}
	started := time.Now()
	for i, err := range p.Send(context.Background(), batch) {
		if slices.Contains(bad, i) {
			require.ErrorIs(t, err, event.ErrRejected, "message %d", i)
			require.NotErrorIs(t, err, event.ErrUnavailable)
			continue
		}
		require.NoError(t, err, "message %d", i)
	}
	require.Less(t, time.Since(started), isolateTimeout)
	t.Logf("%d messages, %d at fault: %s", len(batch), len(bad), time.Since(started))
	require.Same(t, live, p.live.Load(), "the connection was kept")

	raw := rawChannel(t)
	seen := map[string]bool{}
	for {
		d, ok, err := raw.Get(q.Name, true)
		require.NoError(t, err)
		if !ok {
			break
		}
		seen[d.MessageId] = true
	}
	require.Len(t, seen, 1+len(batch)-len(bad), "each good one is there, some more than once")
}

func culpritAlone(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	live := p.live.Load()
	for range 3 {
		err := p.Send(context.Background(), []event.Message{culprit(q, "bad")})[0]
		require.ErrorIs(t, err, event.ErrRejected)
		require.ErrorContains(t, err, "406")
		require.NotContains(t, err.Error(), "everybody")
		require.NoError(t, p.Send(context.Background(), []event.Message{messageTo(q, "good")})[0])
	}
	require.Same(t, live, p.live.Load(), "the connection was kept")
}

// knownCulprit: what is marked does not close the channel that all others share.
func knownCulprit(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	shared := p.live.Load().link.channel
	bad := culprit(q, "bad")
	bad.Alone = true
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for range 10 {
				results := p.Send(context.Background(), []event.Message{bad, messageTo(q, "good"), bad})
				if results[1] != nil {
					t.Error(results[1])
				}
				for _, i := range []int{0, 2} {
					if !rejected(results[i]) {
						t.Error(results[i])
					}
				}
			}
		})
	}
	sending.Wait()
	require.False(t, shared.IsClosed())
	require.Equal(t, 41, ready(t, rawChannel(t), q.Name), "the good ones went once")

	fine := messageTo(q, "repaired")
	fine.Alone = true
	require.NoError(t, p.Send(context.Background(), []event.Message{fine})[0])
}

func refusedKey(t *testing.T) {
	u, err := url.Parse(newVirtualHost(t))
	require.NoError(t, err)
	q := event.Queue{Name: "q", Bindings: []string{"#"}, Workers: 1, Prefetch: 1}
	p := startPublisher(t, u.String(), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	manage(t, http.MethodPut, "/api/topic-permissions"+u.Path+"/"+u.User.Username(),
		`{"exchange":"`+event.Exchange+`","write":"^q\\..*","read":".*"}`)
	refused := messageTo(q, "refused")
	refused.RoutingKey = "job.completed"
	require.Eventually(t, func() bool { // permissions are cached for a moment
		return rejected(p.Send(context.Background(), []event.Message{refused})[0])
	}, 20*time.Second, 50*time.Millisecond)
	results := p.Send(context.Background(), []event.Message{messageTo(q, "a"), refused, messageTo(q, "b"), refused, messageTo(q, "c")})
	for i, err := range results {
		require.Equal(t, i%2 == 1, rejected(err), "message %d: %v", i, err)
		require.Equal(t, i%2 == 0, err == nil, "message %d: %v", i, err)
	}
}

func deletedExchange(t *testing.T) {
	address := newVirtualHost(t)
	q := event.Queue{Name: "q", Bindings: []string{"#"}, Workers: 1, Prefetch: 1}
	p := startPublisher(t, address, q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	live := p.live.Load()
	conn, err := rabbitmq.Dial(context.Background(), options(address, t.Name()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	raw, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, raw.ExchangeDelete(event.Exchange, false, false))
	for _, err := range p.Send(context.Background(), []event.Message{messageTo(q, "a"), messageTo(q, "b")}) {
		require.ErrorIs(t, err, event.ErrUnavailable)
		require.NotErrorIs(t, err, event.ErrRejected)
	}
	require.Eventually(t, func() bool {
		return p.Send(context.Background(), []event.Message{messageTo(q, "healed")})[0] == nil
	}, 10*time.Second, 20*time.Millisecond)
	require.Same(t, live, p.live.Load(), "the connection was kept")
}

func unwritable(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	eventtest.SendAll(t, p, messageTo(q, "warm"))
	shared := p.live.Load().link.channel
	long := string(make([]byte, 256))
	name, value, key := messageTo(q, "name"), messageTo(q, "value"), messageTo(q, "key")
	name.Headers[long] = "a"
	value.Headers["a"] = string(make([]byte, 200_000))
	key.Headers[event.HeaderRoutingKey] = long
	for _, m := range []event.Message{messageTo(q, long), name, value, key} {
		for _, m.Alone = range []bool{false, true} {
			require.ErrorIs(t, p.Send(context.Background(), []event.Message{m})[0], event.ErrRejected)
		}
	}
	big, many := messageTo(q, "big"), messageTo(q, "many")
	big.Headers["a"] = string(make([]byte, 129_000))
	for i := range 8_000 {
		many.Headers[fmt.Sprintf("%05d", i)] = "abc"
	}
	for _, m := range []event.Message{big, many} {
		require.NoError(t, p.Send(context.Background(), []event.Message{m})[0], m.ID)
	}
	require.False(t, shared.IsClosed())
	raw := rawChannel(t)
	for range 3 { // what may be published can be read
		rawGet(t, raw, q.Name)
	}
}
