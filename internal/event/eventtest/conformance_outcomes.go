package eventtest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// short levels make the ladder quick to climb.
var short = []time.Duration{40 * time.Millisecond, 120 * time.Millisecond}

func gone(b *bench) {
	b.open(event.Policy{}, 1, time.Second)
	c := b.consume(func(_ context.Context, d event.Delivery) error {
		if d.RoutingKey == string(b.key("old")) {
			return event.Drop(event.DropStale)
		}
		return nil
	})
	b.mustSend(b.message("old"), b.message("new"))
	b.next(c, event.Ack, event.DropStale)
	b.next(c, event.Ack, "handled")
	c.stop()

	again := b.consume(done)
	last := b.message("last")
	b.mustSend(last)
	require.Equal(b, last.ID, b.next(again, event.Ack, "handled").Delivery.ID, "an acked message came back")
	require.Empty(b, b.allDead())
}

func permanent(b *bench) {
	b.open(event.Policy{}, 1, time.Second)
	c := b.consume(func(_ context.Context, d event.Delivery) error {
		if d.RoutingKey == string(b.key("bad")) {
			return event.Permanent(event.ReasonRejected, classed{errors.New("550 no such user"), "smtp_550"})
		}
		return nil
	})
	bad, good := b.message("bad"), b.message("good")
	b.mustSend(bad, good)
	b.next(c, event.Dead, event.ReasonRejected)
	require.Equal(b, good.ID, b.next(c, event.Ack, "handled").Delivery.ID)

	letter := b.dead()
	since, err := time.Parse(time.RFC3339Nano, letter.DeadSince)
	require.NoError(b, err)
	require.WithinDuration(b, time.Now(), since, time.Minute)
	letter.DeadSince = ""
	require.Equal(b, event.DeadLetter{
		Queue: b.queues[0].Name, EventID: bad.ID, RoutingKey: bad.RoutingKey, Reason: event.ReasonRejected,
		ErrorClass: "smtp_550", BodyBytes: len(bad.Body),
	}, letter)
}

type classed struct {
	error
	class string
}

func (c classed) ErrorClass() string { return c.class }

func poison(b *bench) {
	b.open(event.Policy{}, 1, time.Second)
	router := event.NewRouter()
	router.On(b.key("note"), event.Handle(func(context.Context, event.Received, note) error { return nil }))
	c := b.consume(router.Dispatch)
	body := func(text string) event.Message {
		m := b.message("note")
		m.Body = []byte(text)
		return m
	}
	cases := []struct {
		message event.Message
		reason  string
	}{
		{b.message("stranger"), event.ReasonUnknownKey},
		{body(`{"event_id":`), event.ReasonUnreadable},
		{body(""), event.ReasonUnreadable},
		{body(`{"payload":{"data":{"text":"x"}}}`), event.ReasonInvalid},
		{body(`{"event_id":"evt_1","payload":{"data":{}}}`), event.ReasonInvalid},
		{body(`{"event_id":"evt_1","payload":{"data":{"text":7}}}`), event.ReasonInvalid},
		{body(`{"event_id":"evt_1"}`), event.ReasonInvalid},
	}
	for _, p := range cases {
		good := b.message("note")
		b.mustSend(p.message, good)
		b.next(c, event.Dead, p.reason)
		require.Equal(b, good.ID, b.next(c, event.Ack, "handled").Delivery.ID, "the next is handled at once")
	}
	letters := b.allDead()
	require.Len(b, letters, len(cases))
	for i, p := range cases {
		require.Equal(b, p.reason, letters[i].Reason, "dead letters are listed oldest first")
		require.Equal(b, p.message.ID, letters[i].EventID)
		require.Equal(b, p.message.RoutingKey, letters[i].RoutingKey)
	}
}

func ladder(b *bench) {
	b.open(event.Policy{Levels: short}, 1, time.Second)
	const failures = 4
	var begun, ended []time.Time
	c := b.consume(func(_ context.Context, d event.Delivery) error {
		begun = append(begun, time.Now())
		defer func() { ended = append(ended, time.Now()) }()
		if d.Attempts() < failures {
			return errors.New("not this time")
		}
		return nil
	})
	sent := b.message("climber")
	sent.Headers[event.HeaderTraceparent] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	sent.Headers["x-own"] = "kept"
	b.mustSend(sent)
	var first time.Time
	for attempt := range failures {
		seen := b.next(c, event.Retry, "retry")
		require.Equal(b, min(attempt, len(short)-1), seen.Decision.Level, "after %d failures", attempt)
		require.Equal(b, attempt, seen.Delivery.Attempts())
		require.Equal(b, attempt, seen.Delivery.Moves())
		if attempt > 0 {
			require.Equal(b, "error", seen.Delivery.Headers[event.HeaderError])
			first = sameFirst(b, first, seen.Delivery)
		}
		sameMessage(b, sent, seen.Delivery.Message)
		require.Zero(b, seen.Delivery.HandedOut, "a retry is a new message to the broker, not a redelivery")
	}
	last := b.next(c, event.Ack, "handled").Delivery
	require.Equal(b, failures, last.Attempts())
	sameMessage(b, sent, last.Message)
	c.stop()
	for i := range failures {
		waited := begun[i+1].Sub(ended[i])
		require.GreaterOrEqual(b, waited, short[min(i, len(short)-1)]-5*time.Millisecond, "wait %d", i)
	}
	require.Empty(b, b.allDead())
}

// sameFirst checks that the clock of GiveUpAfter is started once.
func sameFirst(b *bench, first time.Time, d event.Delivery) time.Time {
	b.Helper()
	require.WithinDuration(b, time.Now(), d.FirstFailed(), time.Minute)
	if !first.IsZero() {
		require.True(b, first.Equal(d.FirstFailed()))
	}
	return d.FirstFailed()
}

func exhausted(b *bench) {
	b.open(event.Policy{Levels: short[:1], GiveUpAfter: 3 * short[0]}, 1, time.Second)
	c := b.consume(func(context.Context, event.Delivery) error { return errors.New("never") })
	sent := b.message("hopeless")
	b.mustSend(sent)
	for seen := Next(b.T, c.Seen); seen.Decision.Action != event.Dead; seen = Next(b.T, c.Seen) {
		require.Equal(b, event.Retry, seen.Decision.Action)
	}
	letter := b.dead()
	require.Equal(b, event.ReasonExhausted, letter.Reason)
	require.Equal(b, sent.RoutingKey, letter.RoutingKey)
	require.Positive(b, letter.Attempts)
	first, err := time.Parse(time.RFC3339Nano, letter.FirstFailed)
	require.NoError(b, err)
	since, err := time.Parse(time.RFC3339Nano, letter.DeadSince)
	require.NoError(b, err)
	require.GreaterOrEqual(b, since.Sub(first), 3*short[0])
}

func notYet(b *bench) {
	b.open(event.Policy{Levels: short}, 1, time.Second)
	looks := 0
	c := b.consume(func(context.Context, event.Delivery) error {
		if looks++; looks <= 2 {
			return event.NotYet(short[1]+time.Millisecond, errors.New("somebody else is at it"))
		}
		return nil
	})
	b.mustSend(b.message("busy"))
	for range 2 {
		seen := b.next(c, event.Retry, "retry")
		require.Equal(b, 1, seen.Decision.Level, "the longest level that does not overshoot")
		require.Zero(b, seen.Delivery.Attempts())
	}
	require.Zero(b, b.next(c, event.Ack, "handled").Delivery.Attempts())
}

func panics(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 2, time.Second)
	panicked, finish := make(chan struct{}), make(chan struct{})
	router := event.NewRouter()
	tries := 0
	router.On(b.key("wild"), func(context.Context, event.Delivery) error {
		if tries++; tries == 1 {
			defer close(panicked)
			panic("out of my mind")
		}
		return nil
	})
	router.On(b.key("calm"), func(context.Context, event.Delivery) error { <-finish; return nil })
	c := b.consume(router.Dispatch)
	wild, calm := b.message("wild"), b.message("calm")
	b.mustSend(calm, wild) // calm is at work when wild panics
	Next(b.T, closed(panicked))
	b.next(c, event.Retry, "retry")
	back := b.next(c, event.Ack, "handled").Delivery
	require.Equal(b, wild.ID, back.ID)
	require.Equal(b, "panic", back.Headers[event.HeaderError])
	close(finish)
	require.Equal(b, calm.ID, b.next(c, event.Ack, "handled").Delivery.ID)
}

// closed turns the closing of c into a value.
func closed(c <-chan struct{}) <-chan bool {
	out := make(chan bool, 1)
	go func() { <-c; out <- true }()
	return out
}

func levels(b *bench) {
	b.open(event.Policy{Levels: []time.Duration{short[0], forever}, GiveUpAfter: 2 * forever}, 1, time.Second)
	c := b.consume(func(_ context.Context, d event.Delivery) error {
		switch {
		case d.RoutingKey == string(b.key("long")):
			return event.NotYet(forever, errors.New("for long"))
		case d.Attempts() == 0:
			return errors.New("once more")
		}
		return nil
	})
	long, quick := b.message("long"), b.message("quick")
	b.mustSend(long, quick)
	require.Equal(b, 1, b.next(c, event.Retry, "retry").Decision.Level)
	require.Equal(b, 0, b.next(c, event.Retry, "retry").Decision.Level)
	require.Equal(b, quick.ID, b.next(c, event.Ack, "handled").Delivery.ID)
}
