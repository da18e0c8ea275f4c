package rabbitmq

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"

	lru "github.com/hashicorp/golang-lru/v2"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
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
}

// job is one delivery with its worker. It is acked on the channel it came on: on a newer channel the same tag is a
// different message, which the broker would delete unprocessed. A channel that has gone refuses the ack.
type job struct {
	amqp.Delivery
	worker *worker
	life   context.Context // ends with the connection
}

func newWorker(o ConsumerOptions, c event.Consumer) *worker {
	done, err := lru.New[string, struct{}](rememberedAcks)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &worker{options: o, consumer: c, jobs: make(chan job), done: done}
}

// feed consumes on conn and hands deliveries to the handlers until the connection is lost. When stop ends it cancels
// the consumer, gives back what nobody has begun, and keeps the channel for the acks still to come.
func (w *worker) feed(stop, life context.Context, conn *amqp.Connection, started func()) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ch.Qos(w.consumer.Queue.Prefetch, 0, false); err != nil {
		return fmt.Errorf("rabbitmq: setting prefetch: %w", err)
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	deliveries, err := ch.Consume(w.consumer.Queue.Name, event.Service, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("rabbitmq: consuming %s: %w", w.consumer.Queue.Name, err)
	}
	started()
	return w.handOver(stop, life, ch, deliveries, cancelled)
}

// handOver hands deliveries to the handlers until the consumer on ch ends, which is an error, or life or stop do.
func (w *worker) handOver(stop, life context.Context, ch *amqp.Channel,
	deliveries <-chan amqp.Delivery, cancelled <-chan string) error {
	for {
		select {
		case <-life.Done():
			return nil
		case <-cancelled:
			return fmt.Errorf("rabbitmq: the broker cancelled the consumer of %s; was the queue deleted?", w.consumer.Queue.Name)
		case <-stop.Done():
			return w.drain(life, ch, deliveries)
		case d, ok := <-deliveries:
			if !ok {
				return fmt.Errorf("rabbitmq: there is nothing more from %s: its queue was deleted, or its channel closed", w.consumer.Queue.Name)
			}
			select {
			case w.jobs <- job{Delivery: d, worker: w, life: life}:
			case <-life.Done():
				return nil // unacked: the broker hands it out again
			case <-stop.Done():
				return w.drain(life, ch, deliveries, d)
			}
		}
	}
}

// drain gives back what no handler has begun, and keeps the connection for the acks still to come.
func (w *worker) drain(life context.Context, ch *amqp.Channel, deliveries <-chan amqp.Delivery, unbegun ...amqp.Delivery) error {
	if err := GiveBack(ch, deliveries, unbegun...); err != nil {
		return err
	}
	<-life.Done()
	return nil
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
	d := event.Delivery{Message: ToMessage(j.Delivery), HandedOut: handedOut(j.Delivery)}
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
		w.requeue(j)
	case event.Retry:
		return w.move(stop, j, d, queue.RetryQueue(decision.Level), decision)
	case event.Dead:
		return w.move(stop, j, d, queue.DeadQueue(), decision)
	}
	return decision
}

// decide runs the handler, unless there is nothing to run it for.
func (w *worker) decide(ctx, stop context.Context, j job, d event.Delivery) (event.Decision, error) {
	if j.Redelivered && w.done.Remove(copyName(d)) {
		return event.Decision{Action: event.Ack, Outcome: event.DropDuplicate}, nil
	}
	err := w.consumer.Handle(ctx, d)
	return event.Decide(err, d, w.consumer.Queue.Retry, stop.Err() != nil, w.options.Now()), err
}

// move publishes to one of our own queues and only then acks. It returns what has become of the message: moved as
// decided, or requeued.
func (w *worker) move(stop context.Context, j job, d event.Delivery, queue string, decision event.Decision) event.Decision {
	moved := d.Moved(queue, decision.Headers) // once: sent again, it has the same id
	if Move(stop, j.life, w.options.Sender, moved, w.options.Connection.Log) {
		w.ack(j, d)
		return decision
	}
	if j.life.Err() == nil { // else the broker hands it out again by itself
		w.requeue(j)
	}
	return event.Decision{Action: event.Requeue, Outcome: "requeue"}
}

// ack acks a finished delivery, or remembers it when that is no longer possible.
func (w *worker) ack(j job, d event.Delivery) {
	if j.Ack(false) != nil {
		w.options.StaleAck(w.consumer.Queue.Name)
		w.done.Add(copyName(d), struct{}{})
	}
}

// requeue gives a delivery back, unless its channel has gone: then the broker hands it out again by itself.
func (w *worker) requeue(j job) {
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
