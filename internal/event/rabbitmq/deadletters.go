package rabbitmq

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
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
	// Refused, where set, is called with each letter that stays because the broker does not take it back into its queue,
	// and the walk goes on unless it returns an error.
	Refused func(event.DeadLetter, error) error
}

// NewDeadLetters returns the tool for the dead queues of these queues.
func NewDeadLetters(o rabbitmq.Options, queues []event.Queue) *DeadLetters {
	return &DeadLetters{options: o, queues: queues}
}

// Errors of Walk.
var (
	ErrNoSuchQueue = errors.New("rabbitmq: no such queue") // not one of this service's queues
	ErrBusy        = errors.New("another process is looking at it; try again later")
)

// Handling is what to do with one dead letter.
type Handling int

// The handlings.
const (
	Keep   Handling = iota // leave it where it is
	Remove                 // ack it: it is gone
	Replay                 // publish it to its queue again with its attempts reset, wait for the confirm, then ack it
)

const (
	// A quorum queue hands one consumer 65,535 messages at most, and 2,000 when it has no limit of its own. A walk uses
	// one consumer after the other: what one may hold bounds the bodies that wait here to be looked at. The first may hold
	// a page: the broker reads all that a consumer may hold before it hands out the first.
	firstStage, minStage, maxStage = 100, 1000, math.MaxUint16
	// maxStages is how many consumers of a channel give back in the order of their tags when it closes.
	maxStages = 32
	// handOutTimeout is how long the broker may take to hand out the next of the messages it has announced.
	handOutTimeout = 10 * time.Second
	// takeBackTimeout is how long a walk waits at its end until the queue has taken back what was kept.
	takeBackTimeout = 5 * time.Second
)

// Letter is a dead letter as a walk sees it. Only what is shown of it may be kept: its body can hold a code.
type Letter struct {
	event.DeadLetter
	Message event.Message
}

// Walk shows every message that is in queue's dead queue when it begins, oldest first, and does with each what
// decide says. A message is removed only after its replay has been confirmed; settled is called for each that is gone from
// the dead queue, and for no other. Walk returns how many messages were seen; after an error there are more.
//
// It consumes, and does not fetch: what the consumers of a channel leave behind when it closes, a quorum queue takes back
// in its old order, up to two million messages. One consumer after the other takes as many as it may hold, and all give
// back at the end. A consumer that is cancelled first would give back to the queue's end. One walk at a time: a second
// one is an error.
func (d *DeadLetters) Walk(ctx context.Context, queue string,
	decide func(Letter) (Handling, error), settled func(event.DeadLetter)) (seen int, err error) {
	q, err := d.queue(queue)
	if err != nil {
		return 0, err
	}
	defer func() { err = rabbitmq.Plain(err) }()
	conn, err := rabbitmq.Dial(ctx, d.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	w := &walk{queue: q, conn: conn, decide: decide, settled: settled, refused: d.Refused}
	defer w.leave()
	err = w.all(ctx)
	return w.seen, err
}

// walk is one look at a dead queue.
type walk struct {
	queue   event.Queue
	conn    *amqp.Connection
	decide  func(Letter) (Handling, error)
	settled func(event.DeadLetter)
	refused func(event.DeadLetter, error) error // nil: what is refused ends the walk

	replays *link
	reads   *amqp.Channel
	total   int // how many there were at the beginning
	seen    int // how many of them were shown
	taken   int // how many were handed out
	held    int // how many of these stay in the queue

	stage      int                  // how many each consumer but the first may hold
	stages     int                  // how many consumers there are
	full       int                  // what is held once the last of them is full
	deliveries <-chan amqp.Delivery // of the last one
}

func (w *walk) all(ctx context.Context) (err error) {
	if w.replays, err = openLink(w.conn); err != nil {
		return err
	}
	dead := w.queue.DeadQueue()
	state, err := w.state()
	if err != nil {
		return fmt.Errorf("rabbitmq: looking at %s: %w; has a consumer ever run?", dead, err)
	}
	if state.Consumers > 0 {
		return fmt.Errorf("rabbitmq: reading %s: %w", dead, ErrBusy)
	}
	if w.reads, err = w.conn.Channel(); err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	w.total, w.stage = state.Messages, min(max(minStage, (state.Messages-firstStage+maxStages-2)/(maxStages-1)), maxStage)
	for w.taken < w.total {
		delivery, err := w.take(ctx)
		if err != nil {
			return fmt.Errorf("rabbitmq: reading %s after %d of %d messages: %w", dead, w.seen, w.total, err)
		}
		if err := w.handle(ctx, delivery); err != nil {
			return err
		}
	}
	return nil
}

// take returns the next message, from the next consumer once this one is full.
func (w *walk) take(ctx context.Context) (amqp.Delivery, error) {
	if w.held == w.full {
		if err := w.open(); err != nil {
			return amqp.Delivery{}, err
		}
	}
	delivery, err := next(ctx, w.deliveries)
	if err == nil {
		w.taken++
		w.held++
	}
	return delivery, err
}

// state asks on the channel that replays: nothing is ever refused there.
func (w *walk) state() (amqp.Queue, error) {
	return w.replays.channel.QueueDeclarePassive(w.queue.DeadQueue(), true, false, false, false, nil)
}

// open starts the next consumer. The one before it is full, so that it gets nothing any more.
func (w *walk) open() (err error) {
	size := w.stage
	if w.stages == 0 {
		size = firstStage
	}
	if err := w.reads.Qos(size, 0, false); err != nil {
		return fmt.Errorf("rabbitmq: setting prefetch: %w", err)
	}
	tag := fmt.Sprintf("%s-dlq-%05d", event.Service, w.stages)
	w.deliveries, err = w.reads.Consume(w.queue.DeadQueue(), tag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	w.stages++
	w.full += size
	state, err := w.state()
	if err == nil && state.Consumers > w.stages { // another has begun at the same moment
		return ErrBusy
	}
	return err
}

// handle does with one letter what decide says.
func (w *walk) handle(ctx context.Context, delivery amqp.Delivery) error {
	w.seen++
	message := ToMessage(delivery)
	message.RoutingKey = originalKey(delivery, message)
	letter := describe(w.queue.Name, delivery, message)
	handling, err := w.decide(Letter{letter, message})
	if err != nil || handling == Keep {
		return err
	}
	if handling == Replay {
		if err := replay(ctx, w.replays, message, w.queue.Name); err != nil {
			if w.refused != nil && aboutOne(err) {
				return w.refused(letter, err)
			}
			return err
		}
	}
	if err := delivery.Ack(false); err != nil {
		return fmt.Errorf("rabbitmq: removing a message from %s: %w", w.queue.DeadQueue(), err)
	}
	w.held--
	w.settled(letter)
	return nil
}

// leave gives back what was not acked, and waits until it can be seen in the queue again: the broker confirms the close
// before that, and the next look would find the queue empty. After an early end it takes the others first, unseen: what
// is given back goes behind what was given back before.
func (w *walk) leave() {
	if w.reads == nil {
		return
	}
	for w.taken < w.total {
		if _, err := w.take(context.Background()); err != nil {
			break
		}
	}
	state, err := w.state()
	if err != nil || w.reads.Close() != nil {
		return // the connection is lost: the broker takes them back when it notices
	}
	for want, until := state.Messages+w.held, time.Now().Add(takeBackTimeout); time.Now().Before(until); {
		if state, err = w.state(); err != nil || state.Messages >= want {
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

// aboutOne reports whether err, of a replay, says nothing of other letters.
func aboutOne(err error) bool {
	return errors.Is(err, event.ErrRejected) || errors.Is(err, event.ErrRefused) || errors.Is(err, event.ErrUnroutable)
}

// replay publishes m to queue as if it came for the first time. It waits for the confirm when ctx has ended, too: the
// letter would be in both queues.
func replay(ctx context.Context, l *link, m event.Message, queue string) error {
	fresh := m.Moved(queue, map[string]string{
		event.HeaderRoutingKey: m.RoutingKey, event.HeaderMoves: strconv.Itoa(m.Moves() + 1),
	})
	for _, h := range []string{
		event.HeaderAttempts, event.HeaderFirstFailed, event.HeaderError, event.HeaderDeadReason, event.HeaderDeadAt,
	} {
		delete(fresh.Headers, h)
	}
	if err := fresh.Check(event.MinFrame); err != nil {
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, err)
	}
	confirm, err := l.publish(fresh)
	if err != nil {
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
	defer cancel()
	acked, err := confirm.WaitContext(ctx)
	switch {
	case err != nil || l.channel.IsClosed():
		return fmt.Errorf("rabbitmq: replaying to %s: %w", queue, errors.Join(event.ErrUnavailable, err))
	case l.hasReturned(fresh):
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

// describe says what may be shown of a dead letter: nothing of its body. One without an id gets a name that is the same
// each time.
func describe(queue string, d amqp.Delivery, m event.Message) event.DeadLetter {
	letter := m.DeadLetter(queue)
	if letter.EventID == "" {
		letter.EventID = fmt.Sprintf("unnamed-%.8x", sha256.Sum256(append([]byte(d.MessageId+"\x00"), d.Body...)))
	}
	if letter.Reason == "" { // not dead-lettered by us: the broker's own net was faster
		letter.Reason, _ = d.Headers["x-first-death-reason"].(string)
		if letter.Reason == "rejected" { // by a worker that could not publish it
			letter.Reason = event.ReasonUnsendable
		}
		if reason := rabbitmq.Unreadable(d); letter.Reason == "" && reason != "" {
			letter.Reason, letter.ErrorClass = event.ReasonInvalid, "headers_unreadable"
		}
		if died, ok := death(d)["time"].(time.Time); ok && letter.DeadSince == "" {
			letter.DeadSince = died.UTC().Format(time.RFC3339)
		}
	}
	return letter
}

// death returns what the broker notes of the first time it dead-lettered d.
func death(d amqp.Delivery) amqp.Table {
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) == 0 {
		return nil
	}
	first, _ := deaths[len(deaths)-1].(amqp.Table)
	return first
}

// originalKey is the key an event was published with. Where the broker dead-lettered it itself, only x-death knows.
func originalKey(d amqp.Delivery, m event.Message) string {
	if m.Headers[event.HeaderRoutingKey] != "" {
		return m.RoutingKey
	}
	if keys, _ := death(d)["routing-keys"].([]any); len(keys) > 0 {
		return fmt.Sprint(keys[0])
	}
	return m.RoutingKey
}
