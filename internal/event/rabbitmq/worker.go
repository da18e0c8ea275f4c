package rabbitmq

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// rememberedAcks is how many finished messages whose ack was lost are remembered per queue: far more than can be in
// flight at once.
const rememberedAcks = 1024

// worker handles the deliveries of one queue, through any number of connections.
type worker struct {
	options  ConsumerOptions
	consumer event.Consumer
	jobs     chan job
	done     *lru.Cache[string, struct{}] // copies that are finished and could not be acked
	fed      atomic.Bool                  // there is a connection, and the queue's messages are taken from it
	refusal  atomic.Pointer[error]        // how the last connection ended

	unsettled unsettled
}

// job is one delivery with its worker. It is acked on the channel it came on: on a newer channel the same tag is a
// different message, which the broker would delete unprocessed. A channel that has gone refuses the ack.
type job struct {
	amqp.Delivery
	worker *worker
	life   context.Context // ends with the connection
	ended  <-chan struct{} // closed once nothing more is consumed: what is given back before comes here again
	probe  bool            // it was taken because the lane is paused
}

func newWorker(o ConsumerOptions, c event.Consumer) *worker {
	done, err := lru.New[string, struct{}](rememberedAcks)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &worker{options: o, consumer: c, jobs: make(chan job), done: done}
}

// err returns what keeps the queue's messages from being handled and acked, if anything does.
func (w *worker) err() error {
	wait := w.unsettled.longest(w.options.Now())
	refusal := w.refusal.Load()
	switch {
	case w.fed.Load() && wait > maxUnsettled:
		return fmt.Errorf("a finished message has waited %s to be moved and acked", wait.Truncate(time.Second))
	case w.fed.Load():
		return nil
	case refusal != nil && *refusal != nil:
		if lack, ok := errors.AsType[rightError](*refusal); ok {
			return lack
		}
		if said, ok := errors.AsType[*amqp.Error](*refusal); ok {
			return fmt.Errorf("not consumed: %w", rabbitmq.Plain(said))
		}
	}
	return errors.New("not consumed; reconnecting")
}

// session feeds the handlers from conn until the connection is lost. When stop ends it gives back what nobody has
// begun, and keeps the channel for the acks still to come.
func (w *worker) session(stop, life context.Context, conn *amqp.Connection) (err error) {
	defer func() {
		w.fed.Store(false)
		w.refusal.Store(&err)
	}()
	topology := NewTopology([]event.Queue{w.consumer.Queue}) // this queue's own: another's fault does not stop it
	if _, err := topology.Declare(conn); err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ch.Qos(w.consumer.Queue.Prefetch, 0, false); err != nil {
		return fmt.Errorf("rabbitmq: setting prefetch: %w", err)
	}
	take := func(d amqp.Delivery) amqp.Delivery { return d }
	if queue := w.consumer.Queue; queue.Repeatable {
		acks := newAcks(ch, queue.Prefetch, func() { w.options.StaleAck(queue.Name) })
		defer acks.flush() // handlers have ended, and the connection is still there
		take = func(d amqp.Delivery) amqp.Delivery { d.Acknowledger = acks; return d }
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	taking, cease := context.WithCancel(life)
	defer cease()
	defer context.AfterFunc(stop, cease)()
	for taking.Err() == nil {
		if err := w.feed(stop, life, taking, ch, take, cancelled); err != nil {
			return err
		}
	}
	<-life.Done()
	return nil
}

// feed consumes while the lane is open, and takes one message when it is paused and has to be probed. It returns when
// the lane changes, or with taking, which ends with stop and life.
func (w *worker) feed(stop, life, taking context.Context, ch *amqp.Channel, take func(amqp.Delivery) amqp.Delivery,
	cancelled <-chan string) error {
	lane := w.consumer.Lane
	if lane.IsPaused() {
		w.fed.Store(true) // what waits for the mail server does not wait for us
	}
	if lane.Await(taking) {
		return w.probe(stop, life, ch)
	}
	if taking.Err() != nil {
		return nil //nolint:nilerr // an end that was asked for is no failure
	}
	paused := lane.Paused()
	deliveries, err := ch.Consume(w.consumer.Queue.Name, event.Service, false, false, false, false, nil)
	if lack, refused := NewTopology(nil).lacking(err, "read", "queue", w.consumer.Queue.Name); refused {
		return lack
	}
	if err != nil {
		return fmt.Errorf("rabbitmq: consuming %s: %w", w.consumer.Queue.Name, err)
	}
	w.fed.Store(true)
	ended := make(chan struct{})
	next := func(d amqp.Delivery) job { return job{Delivery: take(d), worker: w, life: life, ended: ended} }
	unbegun, err := w.handOver(taking, paused, deliveries, cancelled, next)
	if err != nil || life.Err() != nil {
		return err
	}
	rest, err := cancelConsumer(ch, deliveries)
	close(ended)
	if err != nil {
		return err
	}
	for _, d := range append(unbegun, rest...) {
		w.holdBack(stop, next(d))
	}
	return nil
}

// handOver hands deliveries to the handlers until the consumer ends, which is an error, or taking ends, or the lane
// pauses. It returns the delivery that it has read and not handed over, if there is one.
func (w *worker) handOver(taking context.Context, paused <-chan struct{}, deliveries <-chan amqp.Delivery,
	cancelled <-chan string, next func(amqp.Delivery) job) ([]amqp.Delivery, error) {
	for {
		select {
		case <-cancelled:
			return nil, fmt.Errorf("rabbitmq: the broker cancelled the consumer of %s; was the queue deleted?", w.consumer.Queue.Name)
		case <-taking.Done():
			return nil, nil
		case <-paused:
			return nil, nil
		case d, ok := <-deliveries:
			if !ok {
				return nil, fmt.Errorf("rabbitmq: consuming %s has ended: the queue was deleted, or the channel closed",
					w.consumer.Queue.Name)
			}
			select {
			case w.jobs <- next(d):
			case <-taking.Done():
				return []amqp.Delivery{d}, nil
			case <-paused:
				return []amqp.Delivery{d}, nil
			}
		}
	}
}

// probe hands one message of a paused lane to a handler.
func (w *worker) probe(stop, life context.Context, ch *amqp.Channel) error {
	d, found, err := ch.Get(w.consumer.Queue.Name, false)
	switch {
	case err != nil:
		w.consumer.Lane.Release()
		return fmt.Errorf("rabbitmq: taking a message from %s: %w", w.consumer.Queue.Name, err)
	case !found:
		w.consumer.Lane.Missed()
		return nil
	}
	nothingConsumed := make(chan struct{})
	close(nothingConsumed)
	j := job{Delivery: d, worker: w, life: life, ended: nothingConsumed, probe: true}
	select {
	case w.jobs <- j:
	case <-life.Done(): // unacked: the broker hands it out again
		w.consumer.Lane.Release()
	case <-stop.Done():
		w.consumer.Lane.Release()
		w.requeue(stop, j)
	}
	return nil
}

// holdBack gives back a delivery that no handler has begun.
func (w *worker) holdBack(stop context.Context, j job) {
	if stop.Err() != nil {
		w.requeue(stop, j)
		return
	}
	d := ToDelivery(j.Delivery)
	w.carryOut(stop, j, d, event.HoldBack(d, w.consumer.Queue.Retry))
}

// work handles one job after the other until stop ends. A job is handed over in person, so none is left behind.
func work(stop, handlers context.Context, jobs <-chan job) {
	for {
		select {
		case <-stop.Done():
			return
		case j := <-jobs:
			j.worker.handle(stop, handlers, j)
		}
	}
}

func (w *worker) handle(stop, handlers context.Context, j job) {
	d := ToDelivery(j.Delivery)
	ctx, finish := w.consumer.Observer.Begin(handlers, w.consumer.Queue, d)
	decision, err := w.decide(ctx, stop, j, d)
	finish(w.carryOut(stop, j, d, decision), err)
}

// carryOut returns what has become of the message: what was decided, or requeued.
func (w *worker) carryOut(stop context.Context, j job, d event.Delivery, decision event.Decision) event.Decision {
	queue := w.consumer.Queue
	switch decision.Action {
	case event.Ack:
		w.ack(j, d)
	case event.Requeue:
		w.requeue(stop, j)
	case event.Retry:
		return w.move(stop, j, d, queue.RetryQueue(decision.Level), decision)
	case event.Dead:
		return w.move(stop, j, d, queue.DeadQueue(), decision)
	}
	return decision
}

// decide runs the handler, unless there is nothing to run it for.
func (w *worker) decide(ctx, stop context.Context, j job, d event.Delivery) (event.Decision, error) {
	err := w.consumer.Lane.Handle(ctx, d, j.probe, func(ctx context.Context, d event.Delivery) error {
		if j.Redelivered && w.done.Remove(copyName(d)) {
			return event.Drop(event.DropDuplicate)
		}
		return w.consumer.Handle(ctx, d)
	}, func(pause time.Duration) bool {
		select {
		case <-time.After(pause):
			return true
		case <-j.life.Done():
		case <-stop.Done():
		}
		return false
	})
	return event.Decide(err, d, w.consumer.Queue.Retry, stop.Err() != nil, w.options.Now()), err
}

// move publishes to one of our own queues and only then acks. It returns what has become of the message: moved as
// decided, or requeued.
func (w *worker) move(stop context.Context, j job, d event.Delivery, queue string, decision event.Decision) event.Decision {
	defer w.unsettled.begin(w.options.Now())()
	moved := d.Moved(queue, decision.Headers) // once: sent again, it has the same id
	switch Move(stop, j.life, w.options.Sender, moved, w.options.Connection.Log) {
	case Moved:
		w.ack(j, d)
		return decision
	case Unmovable:
		return w.bury(j, d)
	case NotMoved:
	}
	if j.life.Err() == nil { // else the broker hands it out again by itself
		w.requeue(stop, j)
	}
	return event.Decision{Action: event.Requeue, Outcome: "requeue"}
}

// bury leaves a delivery that cannot be published to the queue's own dead-letter exchange: the broker moves it.
func (w *worker) bury(j job, d event.Delivery) event.Decision {
	if j.Nack(false, false) != nil {
		w.options.StaleAck(w.consumer.Queue.Name)
	}
	w.options.Connection.Log.Error().Str("event_id", d.ID).Str("queue", w.consumer.Queue.Name).
		Msg("a message cannot be published to another queue; the broker dead-letters it, look with consumer dlq show")
	return event.Decision{Action: event.Dead, Outcome: event.ReasonUnsendable}
}

// ack acks a finished delivery, or remembers it when that is no longer possible.
func (w *worker) ack(j job, d event.Delivery) {
	if j.Ack(false) != nil {
		w.options.StaleAck(w.consumer.Queue.Name)
		w.done.Add(copyName(d), struct{}{})
	}
}

// requeue gives a delivery back, unless its channel has gone: then the broker hands it out again by itself.
func (w *worker) requeue(stop context.Context, j job) {
	select {
	case <-j.ended:
	case <-j.life.Done():
	case <-stop.Done():
	}
	if j.Nack(false, true) != nil {
		w.options.StaleAck(w.consumer.Queue.Name)
	}
}

// copyName distinguishes one copy of an event from those that later travel through retry queues. A message without an id
// is known by its body: the digest stays in this process's memory.
func copyName(d event.Delivery) string {
	if d.ID == "" {
		digest := sha256.Sum256(d.Body)
		return string(digest[:])
	}
	return d.ID + "#" + strconv.Itoa(d.Moves())
}
