//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/test/harness"
)

// killAtFullPrefetch kills a consumer that has many finished messages unacked. They are handled again, and what they had
// brought about, and others have built on since, stays as it is.
func killAtFullPrefetch(t *testing.T) {
	t.Parallel()
	const kills, each = 2, 300
	s := harness.New(t, harness.Options{Consumers: 1, Env: map[string]string{"PROJECT_PREFETCH": "256"}})
	id := func(i int) string { return fmt.Sprintf("repeated-%d", i) }
	begun := func() map[string]bool {
		keys, err := s.Redis.Keys(t.Context(), projectKey("repeated-*")).Result()
		require.NoError(t, err)
		found := map[string]bool{}
		for _, key := range keys {
			found[key] = true
		}
		return found
	}
	counted := map[string]bool{}
	for kill := range kills {
		first := kill * each
		var messages []amqp.Publishing
		for i := range each {
			messages = append(messages, amqp.Publishing{
				MessageId: fmt.Sprintf("evt_%d", first+i), ContentType: "application/json", DeliveryMode: amqp.Persistent,
				Body: []byte(jsonOf(t, map[string]any{
					"event_id": fmt.Sprintf("evt_%d", first+i), "timestamp": time.Now().UTC().Format(time.RFC3339),
					"payload": map[string]any{"project_id": id(first + i), "user_id": "owner"},
				})),
			})
		}
		s.Publish(harness.Exchange, "project.created", messages...)
		harness.Soon(t, func() error {
			if n := len(begun()); n < first+each/4 {
				return fmt.Errorf("%d of %d projects have begun", n, first+each)
			}
			return nil
		})
		require.NoError(t, s.Consumers[0].Kill())
		for key := range begun() {
			counted[key] = true
			require.NoError(t, s.Redis.HSet(t.Context(), key, "total", 5, "done", 2).Err())
		}
		require.NoError(t, s.Consumers[0].Start(t.Context()))
	}
	t.Logf("%d of %d projects had begun before a kill", len(counted), kills*each)
	harness.Soon(t, func() error {
		if n := len(begun()); n < kills*each {
			return fmt.Errorf("%d of %d projects have begun", n, kills*each)
		}
		return nil
	})
	for _, queue := range []string{app.ProjectQueue, app.ProjectQueue + ".dead"} {
		harness.Soon(t, func() error {
			if n := s.QueueLength(queue); n > 0 {
				return fmt.Errorf("%s still has %d messages", queue, n)
			}
			return nil
		})
	}
	for key := range begun() {
		fields, err := s.Redis.HGetAll(t.Context(), key).Result()
		require.NoError(t, err)
		want := []string{"0", "0"}
		if counted[key] {
			want = []string{"5", "2"}
		}
		require.Equal(t, want, []string{fields["total"], fields["done"]}, key)
	}
}
