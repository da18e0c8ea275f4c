package legacy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// behindOthers is our consumers' priority at the old queue. Every other reader has 0 and is served first.
	behindOthers int32 = -1
	// readAhead is how many deliveries wait here for the one that is being moved. What waits is kept from other readers.
	readAhead = 10
	// probeEvery is the longest pause between two looks for the old queue.
	probeEvery = time.Minute
)

// ReaderDeps are what a Reader needs; all are required.
type ReaderDeps struct {
	Connection rabbitmq.Options
	Queue      event.Queue        // our own queue for the old path, where the mails go
	Sender     event.Sender       // moves messages there; on another connection
	StaleAck   func(queue string) // called for every acknowledgement that was dropped because its channel had gone
	Refused    func(refused bool) // called when the broker begins, and when it ceases, to refuse us the old queue
}

// Reader empties the previous release's queue into ours while it exists, behind every other reader, on a connection of
// its own. It publishes each mail, waits for the confirm, and acks. The consumer of our own queue sends the mails: only
// there are deliveries counted and repeats recognised.
//
// The broker hands out again what was not acked. Such a delivery may have been moved before, by a process that was
// killed between confirm and ack, or lost its connection there. It is therefore marked by [event.HeaderMoves], and waits
// on the first retry level, so that a first copy has been begun before it. A mail with an id is then recognised by the
// ledger, one without by [Unnamed]. Once a mail is in our own queue it keeps its id, whatever happens to its consumer
// or the broker. Only an old consumer that attaches in the moment between confirm and ack sends a mail of ours again.
type Reader struct {
	deps       ReaderDeps
	probeEvery time.Duration // a test has no minute
	found      bool          // as it was reported last
	refused    bool          // the same: the queue may be there, but cannot be looked for or read
}

// NewReader returns a Reader that works once Run does.
func NewReader(d ReaderDeps) *Reader { return &Reader{deps: d, probeEvery: probeEvery} }

// Run reads until ctx ends. Then it gives back what it has not moved, and returns nil.
func (r *Reader) Run(ctx context.Context) error {
	return rabbitmq.Supervise(ctx, r.deps.Connection, r.session)
}

// session reads the old queue whenever it exists, until ctx ends, which is when the connection is lost or the process
// stops. A queue that is not ours ends no connection.
func (r *Reader) session(ctx context.Context, conn *amqp.Connection) error {
	first := r.probeEvery / 64 // soon: at its first start a process looks while its Sender is just declaring the queue
	pause := first
	for {
		err := r.read(ctx, conn)
		if r.found {
			pause = first
		}
		if ctx.Err() == nil && !conn.IsClosed() {
			r.report(false, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(2*pause, r.probeEvery)
		}
	}
}

// read moves deliveries until ctx ends, or the broker ends the consumer, which is an error.
func (r *Reader) read(ctx context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel() // a new one for each look: a refusal closes it
	if err != nil {
		return fmt.Errorf("legacy: opening a channel: %w", err)
	}
	defer func() { _ = ch.Close() }()
	if err := ch.Qos(readAhead, 0, false); err != nil {
		return fmt.Errorf("legacy: setting prefetch: %w", err)
	}
	deliveries, err := ch.Consume(Queue, event.Service, false, false, false, false,
		amqp.Table{"x-priority": behindOthers})
	if err != nil {
		return fmt.Errorf("legacy: consuming %s: %w", Queue, err)
	}
	r.report(true, nil)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("legacy: the broker ended the consumer")
			}
			if !r.move(ctx, d) {
				return eventmq.GiveBack(ch, deliveries, d)
			}
		}
	}
	return eventmq.GiveBack(ch, deliveries)
}

// move brings a delivery to our own queue and reports whether it is there. It acks on the channel the delivery came on.
func (r *Reader) move(ctx context.Context, d amqp.Delivery) bool {
	m := eventmq.ToDelivery(d)
	if m.Unfit != nil {
		return r.bury(ctx, d, m, m.Unfit)
	}
	queue, headers := r.deps.Queue.Name, map[string]string{event.HeaderRoutingKey: m.RoutingKey}
	if d.Redelivered {
		queue = r.deps.Queue.RetryQueue(0)
		headers[event.HeaderMoves] = strconv.Itoa(m.Moves() + 1)
	}
	moved := m.Moved(queue, headers) // once: sent again, it has the same id
	switch eventmq.Move(ctx, ctx, r.deps.Sender, moved, r.deps.Connection.Log) {
	case eventmq.NotMoved:
		return false
	case eventmq.Unmovable:
		return r.bury(ctx, d, m, event.Permanent(event.ReasonUnsendable, errUnsendable))
	case eventmq.Moved:
	}
	if d.Redelivered {
		r.deps.Connection.Log.Info().Str("event_id", moved.ID).Msg("moved a mail that was handed out before")
	}
	r.ack(d)
	return true
}

var errUnsendable = errors.New("legacy: the broker does not accept the message as it came")

// bury brings a copy of a delivery that our own queue cannot have to its dead queue, and reports whether it is there. The
// old queue has no dead-letter exchange. The copy has the body, and none of the properties it came with but an id that
// can be used.
func (r *Reader) bury(ctx context.Context, d amqp.Delivery, m event.Delivery, why error) bool {
	bare := event.Delivery{Message: event.Message{ID: m.ID, ContentType: "application/json", Body: m.Body}}
	if note := m.Headers[event.HeaderForeignID]; note != "" {
		bare.Headers = map[string]string{event.HeaderForeignID: note}
	}
	decision := event.Decide(why, bare, r.deps.Queue.Retry, false, time.Now())
	dead := bare.Moved(r.deps.Queue.DeadQueue(), decision.Headers)
	if eventmq.Move(ctx, ctx, r.deps.Sender, dead, r.deps.Connection.Log) != eventmq.Moved {
		return false
	}
	r.deps.Connection.Log.Error().Err(why).Str("event_id", dead.ID).Str("queue", Queue).
		Msg("a message of the old queue cannot be handled; look with consumer dlq show")
	r.ack(d)
	return true
}

// ack acks a delivery that has been moved. Where its channel has gone it comes again, redelivered.
func (r *Reader) ack(d amqp.Delivery) {
	if d.Ack(false) != nil {
		r.deps.StaleAck(r.deps.Queue.Name)
	}
}

// report logs when the old queue comes and goes, and once that it cannot be read although it may be there: messages
// would wait in it then, unnoticed.
func (r *Reader) report(found bool, err error) {
	err = rabbitmq.Plain(err)
	log := r.deps.Connection.Log.With().Str("queue", Queue).Logger()
	refusal, ok := errors.AsType[*amqp.Error](err)
	// 403 ACCESS_REFUSED or 406 PRECONDITION_FAILED.
	refused := !found && ok && refusal.Server && refusal.Code != amqp.NotFound
	switch {
	case found && !r.found:
		log.Info().Msg("found the old queue; reading it behind its other readers")
	case refused && !r.refused:
		log.Warn().Err(err).Msg("the old queue is refused; its messages wait until the broker permits reading")
	case !found && r.found:
		log.Info().Err(err).Msg("the old queue has gone; looking for it until it is back")
	default:
		log.Debug().Err(err).Bool("found", found).Msg("looked for the old queue")
	}
	if refused != r.refused {
		r.deps.Refused(refused)
	}
	r.found, r.refused = found, refused
}
