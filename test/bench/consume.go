package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
)

const (
	consumeCount = 10_000
	workers      = 8 // the default of SUBSCRIPTION_WORKERS
)

// prefetches are the default of SUBSCRIPTION_PREFETCH and one at which the network no longer sets the pace.
var prefetches = []int{32, 256}

// benchConsume measures Consumer, Router and typed decoding with a handler that does nothing, beside a loop that
// only acks. Both ack each message for itself.
func benchConsume(ctx context.Context, s settings, t *tables) error {
	for _, prefetch := range prefetches {
		if err := consumeWith(ctx, s, t, prefetch); err != nil {
			return err
		}
	}
	return nil
}

func consumeWith(ctx context.Context, s settings, t *tables, prefetch int) error {
	v, remove, err := newVhost(ctx, s)
	if err != nil {
		return err
	}
	defer remove()
	q := benchQueue(workers, prefetch)
	if err := v.declare(ctx, q); err != nil {
		return err
	}
	encoded, err := messages(consumeCount)
	if err != nil {
		return err
	}
	publishings := publishingsOf(encoded)
	ch, err := v.channel(true)
	if err != nil {
		return err
	}
	return comparison{
		what: fmt.Sprintf("consuming, decoding, single acks, prefetch %d", prefetch), n: consumeCount, aim: 0.80,
		prepare: func(context.Context) error { return publishBare(ch, publishings, window) },
		ours:    func(ctx context.Context) (time.Duration, error) { return consumeOurs(ctx, v, q) },
		bare:    func(ctx context.Context) (time.Duration, error) { return consumeBare(ctx, v, q) },
		verify:  func(ctx context.Context) error { return v.holds(ctx, q.Name, 0, 0) },
	}.interleave(ctx, s, t)
}

// consumeBare acks until it has had them all; the clock runs from the first delivery to the last ack.
func consumeBare(ctx context.Context, v *vhost, q event.Queue) (time.Duration, error) {
	conn, err := amqp.Dial(v.url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return 0, err
	}
	if err := ch.Qos(q.Prefetch, 0, false); err != nil {
		return 0, err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, q.Name, "bare", false, false, false, false, nil)
	if err != nil {
		return 0, err
	}
	var started time.Time
	for i := range consumeCount {
		d, ok := <-deliveries
		if !ok {
			return 0, errors.New("the channel was closed")
		}
		if i == 0 {
			started = time.Now()
		}
		if err := d.Ack(false); err != nil {
			return 0, err
		}
	}
	took := time.Since(started)
	return took, ch.Cancel("bare", false)
}

// consumeOurs is the same by the consumer as cmd/consumer runs it, without logs and metrics.
func consumeOurs(ctx context.Context, v *vhost, q event.Queue) (time.Duration, error) {
	var handled atomic.Int64
	router := event.NewRouter()
	router.On(event.SubscriptionCreated, event.Handle(
		func(context.Context, event.Received, event.SubscriptionCreatedData) error { handled.Add(1); return nil }))
	watch := &ackWatch{want: consumeCount, done: make(chan struct{})}
	consumer := rabbitmq.NewConsumer(rabbitmq.ConsumerOptions{
		Connection: v.connection("consumer"), Topology: rabbitmq.NewTopology([]event.Queue{q}), Sender: refuse{}, Now: time.Now,
		DrainTimeout: time.Second, StaleAck: func(string) { watch.strange.Add(1) },
	}, []event.Consumer{{Queue: q, Handle: router.Dispatch, Observer: watch}})
	stop := inBackground(consumer.Run)
	defer stop()
	select {
	case <-watch.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Minute):
		return 0, fmt.Errorf("only %d of %d messages came", watch.acked.Load(), consumeCount)
	}
	if n := watch.strange.Load(); n > 0 || handled.Load() != consumeCount {
		return 0, fmt.Errorf("%d messages were not simply acked, %d reached the handler", n, handled.Load())
	}
	return watch.ended.Sub(watch.started), nil
}

// ackWatch is an event.Observer that takes the time from the first delivery to the last ack.
type ackWatch struct {
	want           int64
	begun, acked   atomic.Int64
	strange        atomic.Int64 // anything but a plain ack
	started, ended time.Time
	done           chan struct{}
}

func (w *ackWatch) Begin(ctx context.Context, _ event.Queue, _ event.Delivery) (context.Context, func(event.Decision, error)) {
	if w.begun.Add(1) == 1 {
		w.started = time.Now()
	}
	return ctx, w.finish
}

func (w *ackWatch) finish(d event.Decision, _ error) {
	if d.Action != event.Ack {
		w.strange.Add(1)
	}
	if w.acked.Add(1) == w.want {
		w.ended = time.Now()
		close(w.done)
	}
}

// refuse is a Sender for a consumer that has nothing to move.
type refuse struct{}

func (refuse) Send(_ context.Context, m []event.Message) []error {
	errs := make([]error, len(m))
	for i := range errs {
		errs[i] = event.ErrRefused
	}
	return errs
}
