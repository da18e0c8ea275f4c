//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// poison returns messages that used to end the connection they came on, or that they were moved on, by what is wrong.
func poison() map[string]amqp.Publishing {
	deep := amqp.Table{}
	for range 31 { // the library writes no deeper; arrays add the rest
		deep = amqp.Table{"k": deep}
	}
	wide := amqp.Table{}
	for i := range 9000 {
		wide[fmt.Sprint(i)] = nil
	}
	id := func(id string) []byte { return []byte(`{"event_id":"` + id + `","payload":7}`) }
	return map[string]amqp.Publishing{
		"headers 40 deep":           {Headers: amqp.Table{"k": deepArray(40)}, Body: id("evt_" + uuid.NewString())},
		"tables":                    {Headers: deep, Body: id("evt_" + uuid.NewString())},
		"9,000 headers":             {Headers: wide, Body: id("evt_" + uuid.NewString())},
		"an id of 256 bytes":        {Body: id(strings.Repeat("x", 256))},
		"a foreign original key":    {Headers: amqp.Table{"x-routing-key": strings.Repeat("k", 256)}, Body: id("evt_" + uuid.NewString())},
		"headers that fill a frame": {Headers: amqp.Table{"h": strings.Repeat("h", 130_000)}, Body: id("evt_" + uuid.NewString())},
		"NUL in the id":             {Body: id(`a\u0000b`)},
		"control characters":        {MessageId: "evt\x1b[31m\n", Body: []byte("{}")},
		"an id that is not UTF-8":   {MessageId: "evt\xff", Body: []byte("{}")},
		"10 MB":                     {Body: []byte(strings.Repeat("x", 10<<20))},
	}
}

// deepArray returns arrays in each other.
func deepArray(levels int) []any {
	inner := []any{}
	for range levels {
		inner = []any{inner}
	}
	return inner
}

// TestPoison publishes four messages of each sort to every queue, beside people who register.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	queues := map[string]string{
		emailQueue:            "email.project_completed.requested",
		"identity.invitation": "invitation.requested",
		"identity.project":    "project.created",
	}
	const copies = 4
	sorts, started := len(poison()), len(s.Consumers[0].Log.Lines(0))
	for range copies {
		for _, key := range queues {
			for _, message := range poison() { // with ids of their own: a repeated one would be acked as a duplicate
				s.Publish(harness.Exchange, key, message)
			}
		}
	}
	published, people := time.Now(), make([]*person, 30)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range people {
		<-tick.C
		people[i] = register(t, s)
	}
	for _, p := range people {
		p.readMail(t, s)
	}
	require.Less(t, time.Since(published), time.Minute, "poison delays nobody")
	for queue := range queues {
		for _, l := range deadLetters(t, s, queue, copies*sorts) {
			require.NotEmpty(t, l.EventID)
			require.Contains(t, []string{"invalid", "unreadable"}, l.Reason)
			require.Equal(t, queues[queue], l.RoutingKey)
			require.NotContains(t, l.EventID, "\x1b")
		}
	}
	for _, line := range s.Consumers[0].Log.Lines(0)[started:] {
		require.NotContains(t, line, "reconnecting", "no connection is lost")
	}
	out := s.Command(nil, harness.Consumer, "dlq", "discard", emailQueue, "--all", "--reason", "poison")
	require.Zero(t, out.Code, out.Stderr)
	require.NotContains(t, out.Stdout+out.Stderr, "\x1b")
	require.Empty(t, dlq(t, s, "list", emailQueue))
}
