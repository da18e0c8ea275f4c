//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/rabbitmq"
	"github.com/smap-platform/identity/test/harness"
)

// event is an event as another service sees it.
type event struct {
	amqp.Delivery
	EventID   string `json:"event_id"`
	Timestamp string `json:"timestamp"`
	Payload   struct {
		Service string          `json:"service"`
		Action  string          `json:"action"`
		Data    json.RawMessage `json:"data"`
	} `json:"payload"`
}

// data decodes the event's data.
func (e event) data(into any) error { return json.Unmarshal(e.Payload.Data, into) }

// eventRecorder is another SMAP service with a durable queue bound to everything. It reconnects to the broker, and its
// queue keeps what comes meanwhile. Like every consumer it may see an event twice.
type eventRecorder struct {
	t *testing.T

	mu      sync.Mutex
	all     []event
	changed chan struct{}
}

// recordEvents starts an eventRecorder and returns once its queue is bound for good: RabbitMQ writes a declaration to
// disk up to two seconds later, and a broker that is killed before has forgotten the binding.
func recordEvents(t *testing.T, s *harness.TestSystem) *eventRecorder {
	t.Helper()
	r := &eventRecorder{t: t, changed: make(chan struct{})}
	consume(t, s, "neighbour.events", "#", 1, func(_ context.Context, e event) error { r.add(e); return nil })
	rabbitmqctl(t, "eval", "mnesia:sync_log().")
	return r
}

func (r *eventRecorder) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

// events returns the events so far with this routing key (all when it is empty), oldest first.
func (r *eventRecorder) events(key string) []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(e event) bool { return key != "" && e.RoutingKey != key })
}

// wait returns the first event with this routing key whose body contains the text, such as a user's id.
func (r *eventRecorder) wait(key, text string) event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), harness.Patience)
	defer cancel()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		for _, e := range r.events(key) {
			if strings.Contains(string(e.Body), text) {
				return e
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(r.t, "the event did not come", "%s with %q", key, text)
		}
	}
}

// handler handles an event of a consumer. The event is acked when it returns nil, and redelivered otherwise.
type handler func(ctx context.Context, e event) error

// consume runs a consumer of another SMAP service until the test ends, with a durable queue. It
// reconnects to the broker. consume returns once the queue is bound.
func consume(t *testing.T, s *harness.TestSystem, queue, key string, workers int, handle handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	bound := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		_ = rabbitmq.Supervise(ctx, s.BrokerOptions(queue), func(ctx context.Context, conn *amqp.Connection) error {
			deliveries, err := subscribe(conn, queue, key)
			if err != nil {
				return err
			}
			select {
			case bound <- struct{}{}:
			default: // not the first connection
			}
			return work(ctx, deliveries, workers, handle)
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	select {
	case <-bound:
	case <-time.After(harness.Patience):
		require.FailNow(t, "the queue was not bound", queue)
	}
}

func subscribe(conn *amqp.Connection, queue, key string) (<-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.ExchangeDeclare(harness.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, harness.NeighbourQueue()); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(queue, key, harness.Exchange, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", false, false, false, false, nil)
}

// work handles deliveries until the connection ends.
func work(ctx context.Context, deliveries <-chan amqp.Delivery, workers int, handle handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, workers)
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			defer cancel() // the others have the same channel
			errs[i] = handleAll(ctx, deliveries, handle)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func handleAll(ctx context.Context, deliveries <-chan amqp.Delivery, handle handler) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the channel was closed")
			}
			e := event{Delivery: d}
			_ = json.Unmarshal(d.Body, &e) // other services may send anything
			if err := handle(ctx, e); err != nil {
				if err := d.Nack(false, true); err != nil {
					return err
				}
			} else if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}
