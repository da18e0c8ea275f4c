package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// DeadLetters looks after the messages that ended in a dead queue. It uses a connection of its own per call.
type DeadLetters struct {
	options rabbitmq.Options
	queues  []event.Queue
}

// NewDeadLetters answers the tool for the dead queues of these queues.
func NewDeadLetters(o rabbitmq.Options, queues []event.Queue) *DeadLetters {
	return &DeadLetters{options: o, queues: queues}
}

// ErrNoSuchQueue is answered for a name that is not one of this service's queues.
var ErrNoSuchQueue = errors.New("rabbitmq: no such queue")

// Handling is what to do with one dead letter.
type Handling int

// The handlings.
const (
	Keep   Handling = iota // leave it where it is
	Remove                 // ack it: it is gone
	Replay                 // publish it to its queue again with its attempts reset, wait for the confirm, then ack it
)

// Walk shows every message that is in queue's dead queue when it begins, oldest first, and does with each what
// decide says. A message is removed only after its replay has been confirmed. Kept ones go back in their order.
// It answers how many messages were seen.
func (d *DeadLetters) Walk(ctx context.Context, queue string,
	decide func(event.DeadLetter, event.Message) (Handling, error)) (seen int, err error) {
	q, err := d.queue(queue)
	if err != nil {
		return 0, err
	}
	conn, err := rabbitmq.Dial(ctx, d.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }() // gives back what was not acked
	ch, err := conn.Channel()
	if err != nil {
		return 0, fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return 0, fmt.Errorf("rabbitmq: switching confirms on: %w", err)
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	state, err := ch.QueueDeclarePassive(q.DeadQueue(), true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("rabbitmq: looking at %s: %w; has a consumer ever run?", q.DeadQueue(), err)
	}
	for range state.Messages {
		delivery, ok, err := ch.Get(q.DeadQueue(), false)
		if err != nil {
			return seen, fmt.Errorf("rabbitmq: reading %s: %w", q.DeadQueue(), err)
		}
		if !ok {
			break
		}
		seen++
		message := toMessage(delivery)
		message.RoutingKey = originalKey(delivery, message)
		handling, err := decide(describe(queue, delivery, message), message)
		if err != nil {
			return seen, err
		}
		if handling == Replay {
			if err := replay(ctx, ch, returns, message, queue); err != nil {
				return seen, err
			}
		}
		if handling != Keep {
			if err := delivery.Ack(false); err != nil {
				return seen, fmt.Errorf("rabbitmq: removing a message from %s: %w", q.DeadQueue(), err)
			}
		}
	}
	return seen, nil
}

// replay publishes m to queue as if it came for the first time.
func replay(ctx context.Context, ch *amqp.Channel, returns <-chan amqp.Return, m event.Message, queue string) error {
	fresh := m.Moved(queue, map[string]string{
		event.HeaderRoutingKey: m.RoutingKey, event.HeaderMoves: strconv.Itoa(m.Moves() + 1),
	})
	for _, h := range []string{
		event.HeaderAttempts, event.HeaderFirstFailed, event.HeaderError, event.HeaderDeadReason, event.HeaderDeadAt,
	} {
		delete(fresh.Headers, h)
	}
	confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, toPublishing(fresh))
	if err != nil {
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, err)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	acked, err := confirm.WaitContext(ctx)
	switch {
	case err != nil || !acked:
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, errors.Join(event.ErrUnavailable, err))
	case len(returns) > 0:
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, event.ErrUnroutable)
	}
	return nil
}

func (d *DeadLetters) queue(name string) (event.Queue, error) {
	i := slices.IndexFunc(d.queues, func(q event.Queue) bool { return q.Name == name })
	if i < 0 {
		var names []string
		for _, q := range d.queues {
			names = append(names, q.Name)
		}
		return event.Queue{}, fmt.Errorf("%w %q; there are %v", ErrNoSuchQueue, name, names)
	}
	return d.queues[i], nil
}

// describe says what may be shown of a dead letter: nothing of its body.
func describe(queue string, d amqp.Delivery, m event.Message) event.DeadLetter {
	reason := m.Headers[event.HeaderDeadReason]
	if reason == "" { // not dead-lettered by us: the broker's own net was faster
		if why, ok := d.Headers["x-first-death-reason"].(string); ok {
			reason = why
		}
	}
	return event.DeadLetter{
		Queue: queue, EventID: m.ID, RoutingKey: m.RoutingKey, Reason: reason, ErrorClass: m.Headers[event.HeaderError],
		Attempts: m.Attempts(), FirstFailed: m.Headers[event.HeaderFirstFailed], DeadSince: m.Headers[event.HeaderDeadAt],
		BodyBytes: len(m.Body),
	}
}

// originalKey is the key an event was published with. Where the broker dead-lettered it itself, only x-death knows.
func originalKey(d amqp.Delivery, m event.Message) string {
	if m.Headers[event.HeaderRoutingKey] != "" {
		return m.RoutingKey
	}
	if deaths, ok := d.Headers["x-death"].([]any); ok && len(deaths) > 0 {
		if first, ok := deaths[len(deaths)-1].(amqp.Table); ok {
			if keys, ok := first["routing-keys"].([]any); ok && len(keys) > 0 {
				return fmt.Sprint(keys[0])
			}
		}
	}
	return m.RoutingKey
}
