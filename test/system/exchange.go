package system

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// Exchange is where all SMAP services meet, spelled as a neighbour would.
const Exchange = "smap.events"

// Event is an event as another service sees it.
type Event struct {
	amqp.Delivery
	EventID   string `json:"event_id"`
	Timestamp string `json:"timestamp"`
	Payload   struct {
		Service string          `json:"service"`
		Action  string          `json:"action"`
		Data    json.RawMessage `json:"data"`
	} `json:"payload"`
}

// Data decodes the event's data.
func (e Event) Data(into any) error { return json.Unmarshal(e.Payload.Data, into) }

// Neighbour is another SMAP service with a durable queue bound to everything. It outlives the broker: it connects
// again, and its queue keeps what comes meanwhile. Like every consumer it may see an event twice.
type Neighbour struct {
	tb testing.TB

	mu      sync.Mutex
	events  []Event
	changed chan struct{}
}

// Neighbour starts one, and returns once its queue is bound, for good: RabbitMQ writes what was declared to disk up to two
// seconds later, and one that is killed before has forgotten the binding. Until the neighbour is back, and binds anew,
// it would miss what is published.
func (s *System) Neighbour() *Neighbour {
	s.tb.Helper()
	n := &Neighbour{tb: s.tb, changed: make(chan struct{})}
	s.Consume("neighbour.events", "#", 1, func(_ context.Context, e Event) error { n.add(e); return nil })
	RabbitMQCtl(s.tb, "eval", "mnesia:sync_log().")
	return n
}

func (n *Neighbour) add(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Events answers what has come so far with this routing key (all when it is empty), oldest first.
func (n *Neighbour) Events(key string) []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.events), func(e Event) bool { return key != "" && e.RoutingKey != key })
}

// Wait answers the first event with this routing key whose data mention the text, such as a user's id.
func (n *Neighbour) Wait(key, text string) Event {
	n.tb.Helper()
	ctx, cancel := context.WithTimeout(n.tb.Context(), Patience)
	defer cancel()
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		for _, e := range n.Events(key) {
			if hasAll(string(e.Body), []string{text}) {
				return e
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(n.tb, "no such event came", "%s with %q", key, text)
		}
	}
}
