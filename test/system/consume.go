package system

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// Consume runs a consumer of another SMAP service until the test ends: a durable queue without arguments, bound to the
// exchange by key, and so many workers. An event is acked when handle answers nil, and comes again otherwise. It
// outlives the broker. Consume returns once the queue is bound.
func (s *System) Consume(queue, key string, workers int, handle func(ctx context.Context, e Event) error) {
	s.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bound := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() {
		_ = rabbitmq.Supervise(ctx, s.connection(queue), func(life context.Context, conn *amqp.Connection) error {
			deliveries, err := open(conn, queue, key)
			if err != nil {
				return err
			}
			select {
			case bound <- struct{}{}:
			default: // told already
			}
			return work(life, deliveries, workers, handle)
		})
	})
	s.tb.Cleanup(func() { cancel(); running.Wait() })
	select {
	case <-bound:
	case <-time.After(Patience):
		require.FailNow(s.tb, "a neighbour could not bind its queue", queue)
	}
}

func (s *System) connection(name string) rabbitmq.Options {
	return rabbitmq.Options{URL: s.BrokerURL, Name: "test " + name, Log: zerolog.Nop()}
}

func open(conn *amqp.Connection, queue, key string) (<-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.ExchangeDeclare(Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(queue, key, Exchange, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", false, false, false, false, nil)
}

// work ends with the connection.
func work(life context.Context, deliveries <-chan amqp.Delivery, workers int, handle func(ctx context.Context, e Event) error) error {
	life, cancel := context.WithCancel(life)
	defer cancel()
	errs := make([]error, workers)
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			defer cancel() // the others have the same channel
			errs[i] = workOn(life, deliveries, handle)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func workOn(life context.Context, deliveries <-chan amqp.Delivery, handle func(ctx context.Context, e Event) error) error {
	for {
		select {
		case <-life.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the channel was closed")
			}
			e := Event{Delivery: d}
			_ = json.Unmarshal(d.Body, &e) // what others send may be anything
			if err := handle(life, e); err != nil {
				if err := d.Nack(false, true); err != nil {
					return err
				}
			} else if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}
