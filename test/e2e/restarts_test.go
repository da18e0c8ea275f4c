//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestBrokerRestarts restarts the broker while messages wait in main, retry and dead queues, and lists the dead letters
// each time. RabbitMQ 4 counts what comes back to a queue, and drops or dead-letters a message after 20 times unless it
// is told not to; it is restarted more often than that.
func TestBrokerRestarts(t *testing.T) {
	restarts := 2
	if brokerVersion(t) >= "4" {
		restarts = 25
	}
	// One system has nobody who reads its queues; the consumer of the other waits for its mail server.
	unread := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	waiting := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	unread.Terminate(unread.Consumers[0])
	waiting.Mailbox.Down()

	const people, letters = 3, 4
	var registered, late []*person
	for range people {
		registered = append(registered, register(t, unread))
		late = append(late, register(t, waiting))
	}
	const retry = subscriptionQueue + ".retry.10m"
	for i := range letters {
		unread.Publish("", retry, amqp.Publishing{
			MessageId: fmt.Sprint("retry-", i), DeliveryMode: amqp.Persistent, Body: []byte(`{}`),
			Headers: amqp.Table{"x-routing-key": "subscription.created", "x-attempts": "4"},
		})
		unread.Publish("", emailQueue+".dead", amqp.Publishing{
			MessageId: fmt.Sprint("dead-", i), DeliveryMode: amqp.Persistent, Body: []byte(`{}`),
			Headers: amqp.Table{"x-routing-key": "email.verification.requested", "x-dead-reason": "invalid"},
		})
	}
	unread.OutboxEmpty()
	waiting.OutboxEmpty()
	harness.Soon(t, func() error { return lengthIs(unread, emailQueue, people) })

	for i := range restarts {
		harness.Inject(t, harness.RabbitMQ.Restart)
		require.Len(t, dlq(t, unread, "list", emailQueue), letters, "after restart %d", i+1)
	}
	harness.Soon(t, func() error { return lengthIs(unread, emailQueue, people) })
	harness.Soon(t, func() error { return lengthIs(unread, retry, letters) })

	require.NoError(t, waiting.Mailbox.Up())
	require.NoError(t, unread.Consumers[0].Start(t.Context()))
	for i := range people {
		registered[i].readMail(t, unread)
		registered[i].verify(t)
		late[i].readMail(t, waiting)
		late[i].verify(t)
	}
	for _, queue := range []string{emailQueue, "identity.invitation", subscriptionQueue, "identity.project"} {
		require.NoError(t, lengthIs(waiting, queue+".dead", 0), "nothing has died of restarts")
		if queue != emailQueue {
			require.NoError(t, lengthIs(unread, queue+".dead", 0))
		}
	}
	require.Len(t, dlq(t, unread, "list", emailQueue), letters)
}

// brokerVersion returns the version of the stack's RabbitMQ.
func brokerVersion(t *testing.T) string {
	t.Helper()
	var overview struct {
		Version string `json:"rabbitmq_version"`
	}
	require.NoError(t, harness.Manage(t.Context(), http.MethodGet, "/api/overview", nil, &overview))
	require.Equal(t, 2, strings.Count(overview.Version, "."), overview.Version)
	return overview.Version
}
