package eventtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func drained(b *bench) {
	b.open(event.Policy{}, 1, patience)
	begun, finish := make(chan struct{}), make(chan struct{})
	c := b.consume(func(ctx context.Context, _ event.Delivery) error {
		close(begun)
		<-finish
		return ctx.Err()
	})
	b.mustSend(b.message("slow"))
	Next(b.T, closed(begun))
	c.end()
	close(finish)
	c.stop()
	b.next(c, event.Ack, "handled")

	again := b.consume(done)
	last := b.message("last")
	b.mustSend(last)
	require.Equal(b, last.ID, b.next(again, event.Ack, "handled").Delivery.ID, "finished work was handed out again")
}

func cut(b *bench) {
	b.open(event.Policy{}, 1, time.Millisecond)
	messages := []event.Message{b.message("cut"), b.message("waiting"), b.message("waiting")}
	b.mustSend(messages...)
	begun := make(chan string, len(messages))
	c := b.consume(func(ctx context.Context, d event.Delivery) error {
		begun <- d.ID
		<-ctx.Done()
		return fmt.Errorf("interrupted: %w", ctx.Err())
	})
	first := Next(b.T, begun)
	c.stop()
	require.Equal(b, first, b.next(c, event.Requeue, "requeue").Delivery.ID)
	require.Empty(b, c.Seen, "nothing else was begun")

	again := b.consume(done)
	var got []string
	for range messages {
		seen := b.next(again, event.Ack, "handled")
		require.Zero(b, seen.Delivery.Attempts())
		require.Zero(b, seen.Delivery.Moves())
		require.LessOrEqual(b, seen.Delivery.HandedOut, 2, "giving back went round in circles")
		got = append(got, seen.Delivery.ID)
	}
	require.ElementsMatch(b, ids(messages...), got)
	require.Empty(b, b.allDead())
}

func cutRetry(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 1, time.Millisecond)
	sent := b.message("failing")
	b.mustSend(sent)
	first := b.consume(func(ctx context.Context, d event.Delivery) error {
		if d.Attempts() == 0 {
			return errors.New("once")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	b.next(first, event.Retry, "retry")
	for range 2 { // whatever the first consumer is doing by now, it is stopped and started without another try
		first.stop()
		first = b.consume(func(ctx context.Context, _ event.Delivery) error { <-ctx.Done(); return ctx.Err() })
	}
	first.stop()
	last := b.consume(done)
	got := b.next(last, event.Ack, "handled").Delivery
	require.Equal(b, sent.ID, got.ID)
	require.Equal(b, 1, got.Attempts())
}

func observer(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 1, time.Second)
	boom := errors.New("boom")
	c := b.consume(func(_ context.Context, d event.Delivery) error {
		switch word := d.RoutingKey[len(b.run)+1:]; {
		case word == "dropped":
			return event.Drop(event.DropSuperseded)
		case word == "dead":
			return event.Permanent(event.ReasonAmbiguous, boom)
		case word == "retried" && d.Attempts() == 0:
			return boom
		}
		return nil
	})
	want := []struct {
		word    string
		action  event.Action
		outcome string
		err     error
	}{
		{"fine", event.Ack, "handled", nil},
		{"dropped", event.Ack, event.DropSuperseded, event.Drop(event.DropSuperseded)},
		{"dead", event.Dead, event.ReasonAmbiguous, boom},
		{"retried", event.Retry, "retry", boom},
	}
	for _, w := range want {
		m := b.message(w.word)
		b.mustSend(m)
		seen := b.next(c, w.action, w.outcome)
		require.Equal(b, m.ID, seen.Delivery.ID)
		require.Equal(b, b.queues[0].Name, seen.Queue)
		if errors.Is(w.err, boom) {
			require.ErrorIs(b, seen.Err, boom)
		} else {
			require.Equal(b, w.err, seen.Err)
		}
	}
	require.Equal(b, 1, b.next(c, event.Ack, "handled").Delivery.Attempts())
	c.stop()
	require.Empty(b, c.Seen)
}

func contexts(b *bench) {
	b.open(event.Policy{}, 1, patience)
	contexts := make(chan context.Context, 1)
	finish := make(chan struct{})
	c := b.consume(func(ctx context.Context, _ event.Delivery) error {
		contexts <- ctx
		<-finish
		return nil
	})
	b.mustSend(b.message("looked at"))
	ctx := Next(b.T, contexts)
	require.True(b, FromObserver(ctx))
	c.end()
	require.NoError(b, ctx.Err(), "a stop lets handlers finish: it does not end their context")
	close(finish)
	c.stop()
	Next(b.T, closed(ctx.Done()))
}
