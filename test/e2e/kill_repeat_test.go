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
	const prefetch, published = 256, 300
	at := time.Now().UTC().Truncate(time.Second)
	for _, c := range []struct {
		queue, key string
		payload    func(id string) map[string]any
		state      func(id string) string // the key in Redis
		since      map[string]string      // what others have stored there meanwhile
		first      map[string]string      // what the event stores
	}{
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
					"effective_until": at.AddDate(0, 0, 14), "created_at": at,
				}}
			},
			first: map[string]string{"version": "1", "status": "trialing"},
			since: map[string]string{"version": "2", "status": "active"},
		},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			s := harness.New(t, harness.Options{})
			broker, err := url.Parse(s.BrokerURL)
			require.NoError(t, err)
			proxy := harness.NewProxy(t, broker.Host)
			broker.Host = "127.0.0.1:" + proxy.Port()
			consumer := s.NewConsumer("RABBITMQ_URL="+broker.String(), "PROJECT_PREFETCH=256", "SUBSCRIPTION_PREFETCH=256")
			require.NoError(t, s.StartAll(t.Context()))
			proxy.Mute()

			var messages []amqp.Publishing
			for i := range published {
				id := fmt.Sprintf("evt_repeated-%d", i)
				messages = append(messages, amqp.Publishing{
					MessageId: id, ContentType: "application/json", DeliveryMode: amqp.Persistent,
					Body: []byte(jsonOf(t, map[string]any{
						"event_id": id, "timestamp": at.Format(time.RFC3339), "payload": c.payload(fmt.Sprintf("repeated-%d", i)),
					})),
				})
			}
			s.Publish(harness.Exchange, c.key, messages...)
			handled := func(n int) func() error {
				return func() error {
					keys, err := s.Redis.Keys(t.Context(), c.state("repeated-*")).Result()
					if err == nil && len(keys) != n {
						err = fmt.Errorf("%d of %d messages have been handled", len(keys), n)
					}
					return err
				}
			}
			harness.Soon(t, handled(prefetch))
			require.NoError(t, consumer.Kill())

			built, err := s.Redis.Keys(t.Context(), c.state("repeated-*")).Result()
			require.NoError(t, err)
			require.Len(t, built, prefetch)
			later := map[string]bool{}
			for _, key := range built {
				later[key] = true
				require.NoError(t, s.Redis.HSet(t.Context(), key, c.since).Err())
			}
			require.NoError(t, consumer.Start(t.Context()))
			harness.Soon(t, handled(published))
			for _, queue := range []string{c.queue, c.queue + ".dead"} {
				harness.Soon(t, func() error {
					if n := s.QueueLength(queue); n > 0 {
						return fmt.Errorf("%s still has %d messages", queue, n)
					}
					return nil
				})
			}
			for i := range published {
				key := c.state(fmt.Sprintf("repeated-%d", i))
				want := c.first
				if later[key] {
					want = c.since
				}
				for field, value := range want {
					require.Equal(t, value, s.Redis.HGet(t.Context(), key, field).Val(), "%s of %s", field, key)
				}
			}
		})
	}
}
