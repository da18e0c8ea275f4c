package main

import (
	"context"
	"errors"
	"slices"

	"github.com/smap-platform/identity/internal/event"
)

const (
	publishCount = 10_000
	// senders is how many Send calls run at once: two of them just fill the window, and a third keeps it full while one
	// of them ends.
	senders = 3
)

// publish measures confirmed publishing of encoded bodies into a quorum queue.
func (b *bench) publish(ctx context.Context) error {
	ours, bare, err := messages(publishCount)
	if err != nil {
		return err
	}
	return b.withBroker(ctx, 1, 1, func(br *broker) error {
		return b.compare(ctx, comparison{
			what:   "confirmed publishing, quorum queue, window 1024",
			n:      publishCount,
			aim:    0.97,
			ours:   timed(func(ctx context.Context) error { return sendAll(ctx, br.publisher, ours) }),
			bare:   timed(func(context.Context) error { return br.publishBare(bare) }),
			verify: func(ctx context.Context) error { return br.holds(ctx, publishCount) },
		})
	})
}

// sendAll sends in the relay's chunks, several at a time.
func sendAll(ctx context.Context, sender event.Sender, messages []event.Message) error {
	chunks := make(chan []event.Message, len(messages)/chunk+1)
	for c := range slices.Chunk(messages, chunk) {
		chunks <- c
	}
	close(chunks)
	return inParallel(senders, func(int) (err error) {
		for c := range chunks {
			err = errors.Join(err, errors.Join(sender.Send(ctx, c)...))
		}
		return err
	})
}
