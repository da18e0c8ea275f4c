package rabbitmq

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// ConsumerOptions of a Consumer; all are needed.
type ConsumerOptions struct {
	Connection rabbitmq.Options
	Topology   Topology
	Sender     event.Sender // moves messages to retry and dead queues; on a connection of its own (docs/adr/0002)
	Now        func() time.Time
	// DrainTimeout bounds how long handlers in flight may take once the process stops; after it their context ends
	// and their messages are given back.
	DrainTimeout time.Duration
	// StaleAck is called for every acknowledgement that was dropped because its connection had gone.
	StaleAck func(queue string)
}

// Consumer runs the handlers of any number of queues on one connection. Handlers outlive the connection: one that
// finishes after it was lost is remembered, and its message acked when the broker hands it out again.
type Consumer struct {
	options   ConsumerOptions
	consumers []event.Consumer
	consuming atomic.Int32 // how many of them have their queue's deliveries
}

// NewConsumer returns a Consumer; Run does the work.
func NewConsumer(o ConsumerOptions, consumers []event.Consumer) *Consumer {
	return &Consumer{options: o, consumers: consumers}
}

// Consuming reports whether every queue is being consumed right now.
func (c *Consumer) Consuming() bool { return int(c.consuming.Load()) == len(c.consumers) }

// Run consumes until ctx ends. Then it takes nothing new, gives back what no handler has begun, lets running
// handlers finish within DrainTimeout, and returns nil.
func (c *Consumer) Run(ctx context.Context) error {
	handlers, cutHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cutHandlers()
	// The connection outlives ctx: handlers that finish during the drain still have their acks to send.
	connection, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()

	workers := make([]*worker, len(c.consumers))
	var running sync.WaitGroup
	for i, consumer := range c.consumers {
		workers[i] = newWorker(c.options, consumer)
		for range consumer.Queue.Workers {
			running.Go(func() { work(ctx, handlers, workers[i].jobs) })
		}
	}
	go func() {
		<-ctx.Done()
		cut := time.AfterFunc(c.options.DrainTimeout, cutHandlers)
		defer cut.Stop()
		running.Wait()
		disconnect()
	}()
	return rabbitmq.Supervise(connection, c.options.Connection, func(life context.Context, conn *amqp.Connection) error {
		return c.session(ctx, life, conn, workers)
	})
}

// session feeds every worker from one connection. The first queue that fails ends it for all: the supervisor then
// rebuilds connection, topology and consumers in one way, whatever went wrong.
func (c *Consumer) session(stop, life context.Context, conn *amqp.Connection, workers []*worker) error {
	if err := OnChannel(conn, c.options.Topology.Declare); err != nil {
		return err
	}
	group, life := errgroup.WithContext(life)
	for _, w := range workers {
		group.Go(func() error {
			return w.feed(stop, life, conn, func() { c.consuming.Add(1) })
		})
	}
	defer c.consuming.Store(0)
	return group.Wait()
}
