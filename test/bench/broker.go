package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/test/harness"
)

const (
	// window is our publisher's (internal/event/rabbitmq); chunk is the relay's (internal/event/outbox).
	window = 1024
	chunk  = 512
	// tidying is how long the broker gets before a virtual host is deleted. RabbitMQ 3.10 truncates the log of a purged
	// quorum queue in the background. When the queue goes meanwhile, that process dies and takes the log of all quorum
	// queues of the node with it for a moment ("ra_log_segment_writer terminating").
	tidying = 2 * time.Second
)

// broker is a quorum queue with our arguments, bound to everything, with our publisher and a bare channel.
type broker struct {
	system    *harness.System
	queue     event.Queue
	topology  rabbitmq.Topology
	publisher *rabbitmq.Publisher
	bare      *amqp.Channel // in confirm mode
}

// withBroker calls do with a new broker.
func (b *bench) withBroker(ctx context.Context, workers, prefetch int, do func(*broker) error) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	queue := event.Queue{
		Name:       "identity.bench",
		Bindings:   []string{"#"},
		Workers:    workers,
		Prefetch:   prefetch,
		Repeatable: true,
		Retry:      event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Minute},
	}
	br := &broker{system: s, queue: queue, topology: rabbitmq.NewTopology([]event.Queue{queue})}
	options := s.BrokerOptions("publisher")
	options.Log = warnings
	br.publisher = rabbitmq.NewPublisher(options, br.topology)
	defer inBackground(br.publisher.Run)()
	err = eventually(ctx, func() error { // it declares the topology first
		_, err := br.publisher.Check(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return s.OnBroker(ctx, func(ch *amqp.Channel) error {
		br.bare = ch
		err := errors.Join(ch.Confirm(false), do(br))
		<-time.After(tidying)
		return err
	})
}

// warnings is the log of our own parts in this process.
var warnings = zerolog.New(os.Stderr).Level(zerolog.WarnLevel)

// holds waits until the queue holds exactly n messages, and empties it.
func (br *broker) holds(ctx context.Context, n int) error {
	err := eventually(ctx, func() error {
		state, err := br.bare.QueueDeclarePassive(br.queue.Name, true, false, false, false, nil)
		if err == nil && state.Messages != n {
			err = fmt.Errorf("%s holds %d messages, expected %d", br.queue.Name, state.Messages, n)
		}
		return err
	})
	if err == nil {
		_, err = br.bare.QueuePurge(br.queue.Name, false)
	}
	return err
}

// publishBare is the bare loop: it keeps window messages unconfirmed and waits for the oldest.
func (br *broker) publishBare(messages []amqp.Publishing) error {
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	for i := range len(messages) + window {
		if i >= window && i-window < len(messages) && !confirms[i-window].Wait() {
			return errors.New("the broker did not confirm a message")
		}
		if i >= len(messages) {
			continue
		}
		m := messages[i]
		var err error
		if confirms[i], err = br.bare.PublishWithDeferredConfirm(event.Exchange, m.Type, true, false, m); err != nil {
			return err
		}
	}
	return nil
}

// inBackground runs a role and returns the function that ends it and waits for it.
func inBackground(run func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// eventually is harness.Eventually with the patience of a benchmark.
func eventually(ctx context.Context, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return harness.Eventually(ctx, cond)
}
