package eventtest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// settlement is one call of event.Consumer.Settle.
type settlement struct {
	id       string
	decision event.Decision
}

// settled blocks every call of Settle until it is answered: meanwhile nobody may have seen the decision carried out.
func settled(b *bench) {
	b.open(event.Policy{Levels: short[:1], GiveUpAfter: 3 * short[0]}, 1, time.Second)
	calls, answers := make(chan settlement, 10), make(chan error, 10)
	c := b.consumeSettled(func(_ context.Context, d event.Delivery) error {
		switch d.RoutingKey {
		case string(b.key("dropped")):
			return event.Drop(event.DropExpired)
		case string(b.key("dead")):
			return event.Permanent(event.ReasonRejected, errors.New("550"))
		case string(b.key("hopeless")):
			return errors.New("never")
		}
		return nil
	}, func(ctx context.Context, d event.Delivery, decision event.Decision) error {
		if !FromObserver(ctx) {
			return errors.New("the context is not the observer's")
		}
		calls <- settlement{d.ID, decision}
		return <-answers
	})
	dead := 0
	for _, want := range []struct {
		word    string
		action  event.Action
		outcome string
	}{
		{"fine", event.Ack, "handled"},
		{"dropped", event.Ack, event.DropExpired},
		{"dead", event.Dead, event.ReasonRejected},
		{"hopeless", event.Dead, event.ReasonExhausted},
	} {
		m := b.message(want.word)
		b.mustSend(m)
		call := Next(b.T, calls)
		require.Equal(b, m.ID, call.id)
		require.Equal(b, want.action, call.decision.Action)
		require.Equal(b, want.outcome, call.decision.Outcome)
		for len(c.Seen) > 0 { // tries before the end
			b.next(c, event.Retry, "retry")
		}
		require.Len(b, b.allDead(), dead, "it is told before, not after")
		answers <- nil
		require.Equal(b, call.decision, b.next(c, want.action, want.outcome).Decision)
		if want.action == event.Dead {
			dead++
		}
		require.Len(b, b.allDead(), dead)
	}
	c.stop()
	require.Empty(b, calls, "each end is told once")
}

func refusedToSettle(b *bench) {
	b.open(event.Policy{Levels: short, GiveUpAfter: short[1]}, 1, time.Second)
	refusals := map[string]int{}
	errNotNow := errors.New("the far side is away")
	c := b.consumeSettled(func(_ context.Context, d event.Delivery) error {
		if d.RoutingKey == string(b.key("bad")) {
			return event.Permanent(event.ReasonRejected, errors.New("550"))
		}
		return nil
	}, func(_ context.Context, d event.Delivery, _ event.Decision) error {
		if refusals[d.ID]++; refusals[d.ID] <= 3 { // longer than GiveUpAfter: nothing is given up for this
			return errNotNow
		}
		return nil
	})
	for _, end := range []struct {
		word    string
		action  event.Action
		outcome string
	}{{"good", event.Ack, "handled"}, {"bad", event.Dead, event.ReasonRejected}} {
		sent := b.message(end.word)
		b.mustSend(sent)
		for moves := range 3 {
			seen := b.next(c, event.Retry, "retry")
			require.ErrorIs(b, seen.Err, errNotNow)
			require.Equal(b, len(short)-1, seen.Decision.Level)
			require.Zero(b, seen.Delivery.Attempts(), "its handler has not failed")
			require.Equal(b, moves, seen.Delivery.Moves())
			require.Empty(b, b.allDead())
		}
		last := b.next(c, end.action, end.outcome).Delivery
		sameMessage(b, sent, last.Message)
	}
	require.Equal(b, event.ReasonRejected, b.dead().Reason)
}

func unsettled(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 1, time.Millisecond)
	calls := make(chan settlement, 10)
	settle := func(_ context.Context, d event.Delivery, decision event.Decision) error {
		calls <- settlement{d.ID, decision}
		return nil
	}
	sent := b.message("on its way")
	b.mustSend(sent)
	begun := make(chan string, 1)
	c := b.consumeSettled(func(ctx context.Context, d event.Delivery) error {
		switch d.Moves() {
		case 0:
			return errors.New("once")
		case 1:
			return event.NotYet(time.Millisecond, errors.New("somebody else is at it"))
		}
		begun <- d.ID
		<-ctx.Done()
		return ctx.Err()
	}, settle)
	b.next(c, event.Retry, "retry")
	b.next(c, event.Retry, "retry")
	Next(b.T, begun)
	c.stop()
	b.next(c, event.Requeue, "requeue")
	require.Empty(b, calls, "it has not ended yet")

	again := b.consumeSettled(done, settle)
	b.next(again, event.Ack, "handled")
	require.Equal(b, sent.ID, Next(b.T, calls).id)
}
