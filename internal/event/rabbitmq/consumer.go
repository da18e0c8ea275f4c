package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// ConsumerOptions of a Consumer; all are needed.
type ConsumerOptions struct {
	Connection rabbitmq.Options
	Sender     event.Sender // moves messages to retry and dead queues; on a connection of its own (docs/adr/0002)
	Now        func() time.Time
	// DrainTimeout bounds how long handlers in flight may take once the process stops; after it their context ends
	// and their messages are given back.
	DrainTimeout time.Duration
	// StaleAck is called for every acknowledgement that was dropped because its connection had gone.
	StaleAck func(queue string)
}

// Consumer runs the handlers of any number of queues, each on a connection of its own: what ends one queue's consumer
// does not touch the others. Handlers outlive the connection: one that finishes after it was lost is remembered, and its
// message acked when the broker hands it out again.
type Consumer struct {
	options ConsumerOptions
	workers []*worker
}

// maxUnsettled is how long a finished delivery may wait to be moved and acked before the consumer is not ready.
const maxUnsettled = time.Minute

// NewConsumer returns a Consumer; Run does the work.
func NewConsumer(o ConsumerOptions, consumers []event.Consumer) *Consumer {
	c := &Consumer{options: o, workers: make([]*worker, len(consumers))}
	for i, consumer := range consumers {
		c.workers[i] = newWorker(o, consumer)
	}
	return c
}

// Consuming reports whether every queue is being consumed right now, or waits for its lane to open, and what is finished
// can be moved and acked.
func (c *Consumer) Consuming() bool { return c.Err() == nil }

// Err returns what is wrong with the first queue that is not consumed, or whose finished messages cannot be moved or
// acked, without addresses and without the server's words.
func (c *Consumer) Err() error {
	for _, w := range c.workers {
		if err := w.err(); err != nil {
			return fmt.Errorf("%s: %w", w.consumer.Queue.Name, err)
		}
	}
	return nil
}

// Run consumes until ctx ends. Then it takes nothing new, gives back what no handler has begun, lets running
// handlers finish within DrainTimeout, and returns nil.
func (c *Consumer) Run(ctx context.Context) error {
	handlers, cutHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cutHandlers()
	// The connections outlive ctx: handlers that finish during the drain still have their acks to send.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()

	var running sync.WaitGroup
	var sessions errgroup.Group
	for _, w := range c.workers {
		for range w.consumer.Queue.Workers {
			running.Go(func() { work(ctx, handlers, w.jobs) })
		}
		connection := c.options.Connection
		connection.Name += " " + w.consumer.Queue.Name
		sessions.Go(func() error {
			return rabbitmq.Supervise(connected, connection, func(life context.Context, conn *amqp.Connection) error {
				return w.session(ctx, life, conn)
			})
		})
	}
	go func() {
		<-ctx.Done()
		cut := time.AfterFunc(c.options.DrainTimeout, cutHandlers)
		defer cut.Stop()
		running.Wait()
		disconnect()
	}()
	return sessions.Wait()
}
