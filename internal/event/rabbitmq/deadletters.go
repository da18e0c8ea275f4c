package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// DeadLetters looks after the messages that ended in a dead queue. It uses a connection of its own per call.
type DeadLetters struct {
	options rabbitmq.Options
	queues  []event.Queue
}

// NewDeadLetters returns the tool for the dead queues of these queues.
func NewDeadLetters(o rabbitmq.Options, queues []event.Queue) *DeadLetters {
	return &DeadLetters{options: o, queues: queues}
}

// ErrNoSuchQueue is returned for a name that is not one of this service's queues.
var ErrNoSuchQueue = errors.New("rabbitmq: no such queue")

// Handling is what to do with one dead letter.
type Handling int

// The handlings.
const (
	Keep   Handling = iota // leave it where it is
	Remove                 // ack it: it is gone
	Replay                 // publish it to its queue again with its attempts reset, wait for the confirm, then ack it
)

const (
	// handOutTimeout is how long the broker may take to hand out the next of the messages it has announced.
	handOutTimeout = 10 * time.Second
	// takeBackTimeout is how long a walk waits at its end until the queue has taken back what was kept.
	takeBackTimeout = 5 * time.Second
)

// Walk shows every message that is in queue's dead queue when it begins, oldest first, and does with each what
// decide says. A message is removed only after its replay has been confirmed; settled is called for each that is gone from
// the dead queue, and for no other. Walk returns how many messages were seen.
//
// It consumes, and does not fetch: what one consumer leaves behind, a quorum queue takes back in its old order. One
// walk at a time: a second one is refused by the broker.
func (d *DeadLetters) Walk(ctx context.Context, queue string,
	decide func(event.DeadLetter) (Handling, error), settled func(event.DeadLetter)) (seen int, err error) {
	q, err := d.queue(queue)
	if err != nil {
		return 0, err
	}
	conn, err := rabbitmq.Dial(ctx, d.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
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
	deliveries, err := ch.Consume(q.DeadQueue(), event.Service, false, true, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("rabbitmq: reading %s: %w; is somebody else at it?", q.DeadQueue(), err)
	}
	left := state.Messages
	defer func() { leave(conn, ch, q.DeadQueue(), left) }()
	for range state.Messages {
		delivery, err := next(ctx, deliveries)
		if err != nil {
			return seen, fmt.Errorf("rabbitmq: reading %s: %w", q.DeadQueue(), err)
		}
		seen++
		message := ToMessage(delivery)
		message.RoutingKey = originalKey(delivery, message)
		letter := describe(queue, delivery, message)
		handling, err := decide(letter)
		if err != nil {
			return seen, err
		}
		if handling == Keep {
			continue
		}
		if handling == Replay {
			if err := replay(ctx, ch, returns, message, queue); err != nil {
				return seen, err
			}
		}
		if err := delivery.Ack(false); err != nil {
			return seen, fmt.Errorf("rabbitmq: removing a message from %s: %w", q.DeadQueue(), err)
		}
		left--
		settled(letter)
	}
	return seen, nil
}

// leave gives back what was not acked, and waits until it can be seen in the queue again: the broker confirms the
// close before that, and the next look would find the queue empty.
func leave(conn *amqp.Connection, ch *amqp.Channel, queue string, left int) {
	if err := ch.Close(); err != nil {
		return // the connection is lost: the broker takes them back when it notices
	}
	ch, err := conn.Channel()
	if err != nil {
		return
	}
	for until := time.Now().Add(takeBackTimeout); time.Now().Before(until); {
		state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err != nil || state.Messages >= left {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

func next(ctx context.Context, deliveries <-chan amqp.Delivery) (amqp.Delivery, error) {
	select {
	case delivery, ok := <-deliveries:
		if !ok {
			return delivery, amqp.ErrClosed
		}
		return delivery, nil
	case <-ctx.Done():
		return amqp.Delivery{}, ctx.Err()
	case <-time.After(handOutTimeout):
		return amqp.Delivery{}, ErrNoAnswer
	}
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
	confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, ToPublishing(fresh))
	if err != nil {
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, err)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	acked, err := confirm.WaitContext(ctx)
	switch {
	case err != nil || ch.IsClosed():
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, errors.Join(event.ErrUnavailable, err))
	case len(returns) > 0:
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, event.ErrUnroutable)
	case !acked:
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, event.ErrRefused)
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
	letter := m.DeadLetter(queue)
	if letter.Reason == "" { // not dead-lettered by us: the broker's own net was faster
		letter.Reason, _ = d.Headers["x-first-death-reason"].(string)
	}
	return letter
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
