package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

const (
	publishCount = 10_000
	// window is our publisher's (internal/event/rabbitmq); batch is the relay's (internal/event/outbox).
	window = 1024
	batch  = 512
	// senders is how many Send calls are under way at once: with two of them the window is just full, with a third
	// it stays full while one of them ends.
	senders = 3
)

var errNotConfirmed = errors.New("the broker did not confirm a message")

// benchQueue is bound to what the rows publish.
func benchQueue(workers, prefetch int) event.Queue {
	return event.Queue{
		Name: "identity.bench", Bindings: []string{"#"}, Workers: workers, Prefetch: prefetch,
		Retry: event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Minute},
	}
}

// benchPublish measures confirmed publishing of encoded bodies, into a quorum queue with our arguments.
func benchPublish(ctx context.Context, s settings, t *tables) error {
	v, remove, err := newVhost(ctx, s)
	if err != nil {
		return err
	}
	defer remove()
	q := benchQueue(1, 1)
	if err := v.declare(ctx, q); err != nil {
		return err
	}
	encoded, err := messages(publishCount)
	if err != nil {
		return err
	}
	publisher, stop := v.publisher(q)
	defer stop()
	if err := eventually(ctx, func() (bool, error) { _, err := publisher.Check(ctx); return err == nil, nil }); err != nil {
		return err
	}
	ch, err := v.channel(true)
	if err != nil {
		return err
	}
	publishings := publishingsOf(encoded)
	return comparison{
		what: "confirmed publishing, quorum queue, window 1024", n: publishCount, aim: 0.90,
		ours:   timed(func(ctx context.Context) error { return sendAll(ctx, publisher, encoded) }),
		bare:   timed(func(context.Context) error { return publishBare(ch, publishings, window) }),
		verify: func(ctx context.Context) error { return v.holds(ctx, q.Name, publishCount, 0) },
	}.interleave(ctx, s, t)
}

// sendAll sends in the relay's batches, several at a time.
func sendAll(ctx context.Context, sender event.Sender, messages []event.Message) error {
	batches := make(chan []event.Message, len(messages)/batch+1)
	for start := 0; start < len(messages); start += batch {
		batches <- messages[start:min(start+batch, len(messages))]
	}
	close(batches)
	errs := make([]error, senders)
	var running sync.WaitGroup
	for i := range errs {
		running.Go(func() {
			for b := range batches {
				errs[i] = errors.Join(append(sender.Send(ctx, b), errs[i])...)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}
