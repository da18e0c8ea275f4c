//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/test/harness"
)

// killAtFullPrefetch kills a consumer that has handled as many messages as it may have unacked, none of whose acks has
// arrived. All are handled again, and what they had brought about, and others have built on since, stays as it is.
func killAtFullPrefetch(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	for _, r := range []repeated{
		{
			queue: app.ProjectQueue, key: "project.created", state: projectKey,
			payload: func(id string) map[string]any { return map[string]any{"project_id": id, "user_id": "owner"} },
			first:   map[string]string{"total": "0", "done": "0"},
			since:   map[string]string{"total": "5", "done": "2"},
		},
		{
			queue: app.SubscriptionQueue, key: "subscription.created", state: stateKey,
			payload: func(id string) map[string]any {
				return map[string]any{"data": map[string]any{
					"version": 1, "subscription_id": "s-" + id, "user_id": id, "plan_code": "free", "status": "trialing",
					"effective_until": now.AddDate(0, 0, 14), "created_at": now,
				}}
			},
			first: map[string]string{"version": "1", "status": "trialing"},
			since: map[string]string{"version": "2", "status": "active"},
		},
	} {
		t.Run(r.key, func(t *testing.T) {
			t.Parallel()
			r.kill(t)
		})
	}
}

// repeated is a kind of event that may be handled twice.
type repeated struct {
	queue, key string
	payload    func(id string) map[string]any
	state      func(id string) string // the key in Redis
	first      map[string]string      // what the event stores there
	since      map[string]string      // what others have stored there meanwhile
}

// id returns the id of the n-th project or user.
func (r repeated) id(n int) string { return fmt.Sprintf("repeated-%d", n) }

func (r repeated) kill(t *testing.T) {
	const prefetch, published = 256, 300
	s := harness.New(t, harness.Options{})
	broker, err := url.Parse(s.BrokerURL)
	require.NoError(t, err)
	proxy := harness.NewProxy(t, broker.Host)
	broker.Host = "127.0.0.1:" + proxy.Port()
	consumer := s.NewConsumer("RABBITMQ_URL="+broker.String(), "PROJECT_PREFETCH=256", "SUBSCRIPTION_PREFETCH=256")
	require.NoError(t, s.StartAll(t.Context()))
	proxy.Mute()

	s.Publish(harness.Exchange, r.key, r.messages(t, published)...)
	r.handled(t, s, prefetch)
	require.NoError(t, consumer.Kill())
	later := r.handled(t, s, prefetch)
	for key := range later {
		require.NoError(t, s.Redis.HSet(t.Context(), key, r.since).Err())
	}

	require.NoError(t, consumer.Start(t.Context()))
	r.handled(t, s, published)
	for _, queue := range []string{r.queue, r.queue + ".dead"} {
		harness.Soon(t, func() error {
			if n := s.QueueLength(queue); n > 0 {
				return fmt.Errorf("%s still has %d messages", queue, n)
			}
			return nil
		})
	}
	for n := range published {
		key, want := r.state(r.id(n)), r.first
		if later[key] {
			want = r.since
		}
		for field, value := range want {
			require.Equal(t, value, s.Redis.HGet(t.Context(), key, field).Val(), "%s of %s", field, key)
		}
	}
}

// messages returns the events of n projects or users.
func (r repeated) messages(t *testing.T, n int) (all []amqp.Publishing) {
	for i := range n {
		id := "evt_" + r.id(i)
		all = append(all, amqp.Publishing{
			MessageId: id, ContentType: "application/json", DeliveryMode: amqp.Persistent,
			Body: []byte(jsonOf(t, map[string]any{
				"event_id": id, "timestamp": time.Now().UTC().Format(time.RFC3339), "payload": r.payload(r.id(i)),
			})),
		})
	}
	return all
}

// handled waits until n events have been handled, and returns the keys of their states.
func (r repeated) handled(t *testing.T, s *harness.TestSystem, n int) map[string]bool {
	found := map[string]bool{}
	harness.Soon(t, func() error {
		keys, err := s.Redis.Keys(t.Context(), r.state("repeated-*")).Result()
		if err == nil && len(keys) != n {
			err = fmt.Errorf("%d of %d events have been handled", len(keys), n)
		}
		for _, key := range keys {
			found[key] = true
		}
		return err
	})
	return found
}
