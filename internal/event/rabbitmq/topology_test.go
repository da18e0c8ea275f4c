package rabbitmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func TestTopologyLeavesTheSourceToItsOwner(t *testing.T) {
	t.Parallel()
	q := event.Queue{
		Name: "identity.legacy", Source: "smtp_send_email",
		Retry: event.Policy{Levels: []time.Duration{time.Second, 2 * time.Minute}},
	}
	var names []string
	for _, queue := range NewTopology([]event.Queue{q}).queues {
		names = append(names, queue.Name)
	}
	require.Equal(t, []string{
		"identity.legacy", "identity.legacy.retry.1s", "identity.legacy.retry.2m", "identity.legacy.dead",
	}, names)
}

// fanoutArguments: neither side's declaration stands in the way of the other's, whoever comes first.
func fanoutArguments(t *testing.T) {
	for _, oldFirst := range []bool{false, true} {
		q, previous := sourced(t, newQueue(t, 1, 10))
		ours := func() { require.NoError(t, previous.Declare(rawChannel(t))) }
		if !oldFirst {
			ours()
		}
		old := rawChannel(t)
		require.NoError(t, old.ExchangeDeclare(q.Source, "fanout", true, false, false, false, nil))
		_, err := old.QueueDeclare(q.Source, true, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, old.QueueBind(q.Source, "", q.Source, false, nil))
		if oldFirst {
			ours()
		}
		publishRaw(t, old, copyTo(q, "bound"))
		require.Equal(t, "bound", rawGet(t, old, q.Source).MessageId)
	}
}
