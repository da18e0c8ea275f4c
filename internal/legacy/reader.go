package legacy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// behindOthers is our consumers' priority at the old queue. Every other reader has 0 and is served first.
	behindOthers int32 = -1
	// probeEvery is the longest pause between two looks for the old queue.
	probeEvery = time.Minute
)

// adopt moves a delivery to our own queue, where it is handled.
const adopt event.Action = "adopt"

// ReaderDeps are what a Reader needs; all are required.
type ReaderDeps struct {
	Connection rabbitmq.Options
	// Consumer is that of our own queue for the old path. Its handler gets the deliveries of the old queue as well, up
	// to Queue.Workers at a time, and its observer sees them.
	Consumer event.Consumer
	Sender   event.Sender // moves messages to our own queues; on another connection
	Now      func() time.Time
	// DrainTimeout bounds how long handlers in flight may take once the process stops; after it their contexts end and
	// their messages are moved to our own queue.
	DrainTimeout time.Duration
	StaleAck     func(queue string) // called for every acknowledgement that was dropped because its channel had gone
	Refused      func(refused bool) // called when the broker begins, and when it ceases, to refuse us the old queue
}

// Reader reads the previous release's queue while it exists, behind every other reader, on a connection of its own. A
// first delivery is handled and acked. What was handed out before, failed or was interrupted moves to our own queues,
// where deliveries are counted and repeats recognised: a mail that we have begun is never handed to a reader that
// remembers nothing, and one that kills its handler does not come back for ever.
type Reader struct {
	deps       ReaderDeps
	probeEvery time.Duration // a test has no minute
	found      bool          // as it was reported last
	refused    bool          // the same: the queue may be there, but cannot be looked for or read
}

// NewReader returns a Reader that works once Run does.
func NewReader(d ReaderDeps) *Reader { return &Reader{deps: d, probeEvery: probeEvery} }

// job is one delivery. Acknowledgements go to the channel it came on: no connection recovers by itself
// (docs/adr/0002), so a channel that has gone refuses them, and its tags never mean another message.
type job struct {
	amqp.Delivery
	life context.Context // ends with the connection
}

// Run reads until ctx ends. Then it takes nothing new, gives back what no handler has begun, lets running handlers
// finish within DrainTimeout, and returns nil.
func (r *Reader) Run(ctx context.Context) error {
	handlers, cutHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cutHandlers()
	// The connection outlives ctx: handlers that finish during the drain still have their acks to send.
	connection, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	jobs := make(chan job)
	var running sync.WaitGroup
	for range r.deps.Consumer.Queue.Workers {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-jobs:
					r.handle(ctx, handlers, j)
				}
			}
		})
	}
	go func() {
		<-ctx.Done()
		cut := time.AfterFunc(r.deps.DrainTimeout, cutHandlers)
		defer cut.Stop()
		running.Wait()
		disconnect()
	}()
	return rabbitmq.Supervise(connection, r.deps.Connection, func(life context.Context, conn *amqp.Connection) error {
		r.follow(ctx, life, conn, jobs)
		return nil
	})
}

// follow reads the old queue whenever it exists, until life ends. What becomes of a queue that is not ours ends no
// connection.
func (r *Reader) follow(stop, life context.Context, conn *amqp.Connection, jobs chan<- job) {
	first := r.probeEvery / 64 // soon: at its first start a process looks while its Sender is just declaring the queue
	pause := first
	var ch *amqp.Channel // stays open when the queue is gone: running handlers still have their acks to send
	for {
		err := exists(conn)
		if err == nil && (ch == nil || ch.IsClosed()) {
			ch, err = r.open(conn)
		}
		if err == nil {
			pause = first
			err = r.read(stop, life, ch, jobs)
		}
		if life.Err() == nil && stop.Err() == nil && !conn.IsClosed() {
			r.report(false, err)
		}
		probe := time.NewTimer(pause)
		select {
		case <-life.Done():
			probe.Stop()
			return
		case <-stop.Done():
			probe.Stop()
			<-life.Done()
			return
		case <-probe.C:
			pause = min(2*pause, r.probeEvery)
		}
	}
}

// exists asks on a channel of its own, because a refusal closes it.
func exists(conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("legacy: opening a channel: %w", err)
	}
	if _, err := ch.QueueDeclarePassive(Queue, true, false, false, false, nil); err != nil {
		return fmt.Errorf("legacy: looking for %s: %w", Queue, err)
	}
	return ch.Close()
}

func (r *Reader) open(conn *amqp.Connection) (*amqp.Channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("legacy: opening a channel: %w", err)
	}
	// What no handler can begin is better left to other readers.
	if err := ch.Qos(r.deps.Consumer.Queue.Workers, 0, false); err != nil {
		return nil, fmt.Errorf("legacy: setting prefetch: %w", err)
	}
	return ch, nil
}

// read hands deliveries to the handlers until the broker ends the consumer, which is an error, or life or stop do.
func (r *Reader) read(stop, life context.Context, ch *amqp.Channel, jobs chan<- job) error {
	deliveries, err := ch.Consume(Queue, event.Service, false, false, false, false,
		amqp.Table{"x-priority": behindOthers})
	if err != nil {
		return fmt.Errorf("legacy: consuming %s: %w", Queue, err)
	}
	r.report(true, nil)
	for {
		select {
		case <-life.Done():
			return nil
		case <-stop.Done():
			return eventmq.GiveBack(ch, deliveries)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("legacy: the broker ended the consumer")
			}
			select {
			case jobs <- job{Delivery: d, life: life}:
			case <-life.Done():
				return nil // unacked: the broker hands it out again
			case <-stop.Done():
				return eventmq.GiveBack(ch, deliveries, d)
			}
		}
	}
}

// report logs when the old queue comes and goes, and once that it cannot be read although it may be there: messages
// would wait in it then, unnoticed.
func (r *Reader) report(found bool, err error) {
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

func (r *Reader) handle(stop, handlers context.Context, j job) {
	c := r.deps.Consumer
	d := event.Delivery{Message: eventmq.ToMessage(j.Delivery)}
	ctx, finish := c.Observer.Begin(handlers, c.Queue, d)
	decision, err := r.decide(ctx, stop, j, d)
	finish(r.carryOut(stop, j, d, decision), err)
}

// decide runs the handler of a first delivery.
func (r *Reader) decide(ctx, stop context.Context, j job, d event.Delivery) (event.Decision, error) {
	if j.Redelivered {
		return adopted(d), nil
	}
	err := r.deps.Consumer.Handle(ctx, d)
	decision := event.Decide(err, d, r.deps.Consumer.Queue.Retry, stop.Err() != nil, r.deps.Now())
	if decision.Action == event.Requeue { // it has been begun
		decision = adopted(d)
	}
	return decision, err
}

// adopted is the decision on a delivery that was begun and not finished, by whichever reader.
func adopted(d event.Delivery) event.Decision {
	return event.Decision{Action: adopt, Outcome: "adopted", Headers: map[string]string{
		event.HeaderRoutingKey: d.RoutingKey, event.HeaderMoves: strconv.Itoa(d.Moves() + 1),
	}}
}

// carryOut returns what has become of the message: what was decided, or requeued.
func (r *Reader) carryOut(stop context.Context, j job, d event.Delivery, decision event.Decision) event.Decision {
	queue := r.deps.Consumer.Queue
	switch decision.Action {
	case event.Retry:
		return r.move(stop, j, d, queue.RetryQueue(decision.Level), decision)
	case event.Dead:
		return r.move(stop, j, d, queue.DeadQueue(), decision)
	case adopt:
		return r.move(stop, j, d, queue.Name, decision)
	default:
		r.ack(j)
		return decision
	}
}

// move publishes to one of our own queues and only then acks.
func (r *Reader) move(
	stop context.Context, j job, d event.Delivery, queue string, decision event.Decision,
) event.Decision {
	moved := d.Moved(queue, decision.Headers) // once: sent again, it has the same id
	if eventmq.Move(stop, j.life, r.deps.Sender, moved, r.deps.Connection.Log) {
		r.ack(j)
		return decision
	}
	if j.life.Err() == nil { // else the broker hands it out again by itself
		_ = j.Nack(false, true)
	}
	return event.Decision{Action: event.Requeue, Outcome: "requeue"}
}

// ack acknowledges a finished delivery. When that is no longer possible the broker hands the message out again; it is
// adopted then, and recognised in our own queue.
func (r *Reader) ack(j job) {
	if j.Ack(false) != nil {
		r.deps.StaleAck(r.deps.Consumer.Queue.Name)
	}
}
