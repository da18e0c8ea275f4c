package rabbitmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func TestTopology(t *testing.T) {
	t.Parallel()
	t.Run("a queue has a level per delay and a dead queue", func(t *testing.T) {
		t.Parallel()
		q := event.Queue{Name: "identity.legacy", Retry: event.Policy{Levels: []time.Duration{time.Second, 2 * time.Minute}}}
		var names []string
		for _, queue := range NewTopology([]event.Queue{q}).queues {
			names = append(names, queue.Name)
		}
		require.Equal(t, []string{
			"identity.legacy", "identity.legacy.retry.1s", "identity.legacy.retry.2m", "identity.legacy.dead",
		}, names)
	})
}
