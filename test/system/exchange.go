package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/rabbitmq"
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
	ctx, cancel := context.WithCancel(context.Background())
	bound := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		_ = rabbitmq.Supervise(ctx, s.connection("neighbour"), func(life context.Context, conn *amqp.Connection) error {
			return n.session(life, conn, bound)
		})
	})
	s.tb.Cleanup(func() { cancel(); running.Wait() })
	select {
	case <-bound:
	case <-time.After(Patience):
		require.FailNow(s.tb, "the neighbour could not bind its queue")
	}
	RabbitMQCtl(s.tb, "eval", "mnesia:sync_log().")
	return n
}

func (s *System) connection(name string) rabbitmq.Options {
	return rabbitmq.Options{URL: s.BrokerURL, Name: "test " + name, Log: zerolog.Nop()}
}

func (n *Neighbour) session(life context.Context, conn *amqp.Connection, bound chan<- struct{}) error {
	const queue = "neighbour.events"
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.QueueBind(queue, "#", Exchange, false, nil); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	select {
	case bound <- struct{}{}:
	default: // told already
	}
	for {
		select {
		case <-life.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the channel was closed")
			}
			n.add(d)
			if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}

func (n *Neighbour) add(d amqp.Delivery) {
	e := Event{Delivery: d}
	_ = json.Unmarshal(d.Body, &e) // what others send may be anything
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

// OnBroker runs fn with a connection to the virtual host.
func (s *System) OnBroker(fn func(ch *amqp.Channel) error) {
	s.tb.Helper()
	conn, err := rabbitmq.Dial(s.tb.Context(), s.connection("by hand"))
	require.NoError(s.tb, err)
	defer func() { _ = conn.Close() }() // what was wanted of it is done, or has failed
	ch, err := conn.Channel()
	require.NoError(s.tb, err)
	require.NoError(s.tb, fn(ch))
}

// Publish publishes by hand and waits for the confirm. Without an exchange the key is a queue's name.
func (s *System) Publish(exchange, key string, p amqp.Publishing) {
	s.tb.Helper()
	s.OnBroker(func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, p)
		if err != nil {
			return err
		}
		if acked, err := confirm.WaitContext(s.tb.Context()); err != nil || !acked {
			return fmt.Errorf("not confirmed: %w", err)
		}
		return nil
	})
}

// QueueLength is how many messages a queue holds that nobody is handling.
func (s *System) QueueLength(queue string) (n int) {
	s.tb.Helper()
	s.OnBroker(func(ch *amqp.Channel) error {
		state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = state.Messages
		return err
	})
	return n
}
