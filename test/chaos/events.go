package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/pkg/rabbitmq"
	"github.com/smap-platform/identity/test/harness"
)

// events are those that another service has heard: by routing key and subject, the ids. Like every consumer it may hear
// one twice, with the same id.
type events struct {
	mu   sync.Mutex
	seen map[string]map[string]map[string]bool
}

// recordEvents starts another service, which has a queue of its own that a lost node does not stop.
func (r *run) recordEvents(ctx context.Context) (*events, error) {
	e := &events{seen: map[string]map[string]map[string]bool{}}
	bound := make(chan struct{})
	once := sync.OnceFunc(func() { close(bound) })
	go func() {
		_ = rabbitmq.Supervise(ctx, r.BrokerOptions("chaos.events"), func(ctx context.Context, conn *amqp.Connection) error {
			return e.consume(ctx, conn, once)
		})
	}()
	waiting, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	select {
	case <-bound:
		return e, nil
	case <-waiting.Done():
		return nil, errors.New("the queue of another service could not be bound")
	}
}

func (e *events) consume(ctx context.Context, conn *amqp.Connection, bound func()) error {
	const queue = "chaos.events"
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
		return err
	}
	for _, key := range []string{"subscription.cancelled", "job.completed"} {
		if err := ch.QueueBind(queue, key, harness.Exchange, false, nil); err != nil {
			return err
		}
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	bound()
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the channel was closed")
			}
			e.add(d)
			if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}

func (e *events) add(d amqp.Delivery) {
	var event struct {
		ID      string `json:"event_id"`
		Payload struct {
			Data struct {
				UserID    string `json:"user_id"`
				ProjectID string `json:"project_id"`
			} `json:"data"`
		} `json:"payload"`
	}
	_ = json.Unmarshal(d.Body, &event) // another's, or ours: then it has an id
	subject := event.Payload.Data.ProjectID
	if subject == "" {
		subject = event.Payload.Data.UserID
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen[d.RoutingKey] == nil {
		e.seen[d.RoutingKey] = map[string]map[string]bool{}
	}
	if e.seen[d.RoutingKey][subject] == nil {
		e.seen[d.RoutingKey][subject] = map[string]bool{}
	}
	e.seen[d.RoutingKey][subject][event.ID] = true
}

// of returns how many events with that key each of these subjects has had, by how many.
func (e *events) of(key string, subjects []string) map[int]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := map[int]int{}
	for _, s := range subjects {
		counts[len(e.seen[key][s])]++
	}
	return counts
}
