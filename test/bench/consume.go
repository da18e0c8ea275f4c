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

// consume measures Consumer, Router and typed decoding with a handler that does nothing, beside a loop that only acks.
// The loop acks each message for itself. It does so with the default of SUBSCRIPTION_PREFETCH, and with a prefetch at
// which the network no longer sets the pace.
func (b *bench) consume(ctx context.Context) error {
	_, messages, err := messages(consumeCount)
	if err != nil {
		return err
	}
	for _, prefetch := range []int{32, 256} {
		err := b.withBroker(ctx, workers, prefetch, func(br *broker) error {
			return b.compare(ctx, comparison{
				what:    fmt.Sprintf("consuming, decoding, acks together, prefetch %d; bare: single acks", prefetch),
				n:       consumeCount,
				aim:     0.90,
				prepare: func(context.Context) error { return br.publishBare(messages) },
				ours:    br.consumeOurs,
				bare:    br.consumeBare,
				verify:  func(ctx context.Context) error { return br.holds(ctx, 0) },
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// consumeBare acks all messages; the clock runs from the first delivery to the last ack.
func (br *broker) consumeBare(ctx context.Context) (took time.Duration, err error) {
	err = br.system.OnBroker(ctx, func(ch *amqp.Channel) error {
		if err := ch.Qos(br.queue.Prefetch, 0, false); err != nil {
			return err
		}
		deliveries, err := ch.ConsumeWithContext(ctx, br.queue.Name, "bare", false, false, false, false, nil)
		if err != nil {
			return err
		}
		var started time.Time
		for i := range consumeCount {
			d, ok := <-deliveries
			if !ok {
				return errors.New("the channel was closed")
			}
			if i == 0 {
				started = time.Now()
			}
			if err := d.Ack(false); err != nil {
				return err
			}
		}
		took = time.Since(started)
		return ch.Cancel("bare", false)
	})
	return took, err
}

// consumeOurs is the same by the consumer as cmd/consumer runs it, without logs and metrics.
func (br *broker) consumeOurs(ctx context.Context) (time.Duration, error) {
	var handled atomic.Int64
	router := event.NewRouter()
	router.On(event.SubscriptionCreated, event.Handle(
		func(context.Context, event.Received, event.SubscriptionCreatedData) error { handled.Add(1); return nil }))
	watch := &ackWatch{done: make(chan struct{})}
	options := br.system.BrokerOptions("consumer")
	options.Log = warnings
	consumer := rabbitmq.NewConsumer(rabbitmq.ConsumerOptions{
		Connection:   options,
		Sender:       br.publisher,
		Now:          time.Now,
		DrainTimeout: time.Second,
		StaleAck:     func(string) { watch.others.Add(1) },
	}, []event.Consumer{{
		Queue:    br.queue,
		Handle:   event.Chain(router.Dispatch, event.Limit(br.queue.Retry, time.Now), event.Recover),
		Observer: watch,
	}})
	defer inBackground(consumer.Run)()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case <-watch.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("%d of %d messages came: %w", watch.acked.Load(), consumeCount, ctx.Err())
	}
	if n := watch.others.Load(); n > 0 || handled.Load() != consumeCount {
		return 0, fmt.Errorf("%d messages were not simply acked, %d reached the handler", n, handled.Load())
	}
	return watch.ended.Sub(watch.started), nil
}

// ackWatch is an event.Observer that times from the first delivery to the last ack.
type ackWatch struct {
	begun, acked, others atomic.Int64 // others: anything but a plain ack
	started, ended       time.Time
	done                 chan struct{}
}

func (w *ackWatch) Begin(
	ctx context.Context, _ event.Queue, _ event.Delivery,
) (context.Context, func(event.Decision, error)) {
	if w.begun.Add(1) == 1 {
		w.started = time.Now()
	}
	return ctx, func(d event.Decision, _ error) {
		if d.Action != event.Ack {
			w.others.Add(1)
		}
		if w.acked.Add(1) == consumeCount {
			w.ended = time.Now()
			close(w.done)
		}
	}
}
