package eventtest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// quickProbing makes a pause as short as a test wants it. A queue is never empty for long enough to open its lane.
var quickProbing = event.Probing{First: 10 * time.Millisecond, Last: 40 * time.Millisecond, Hold: forever, Idle: forever}

var errRefused = classed{errors.New("connection refused"), "smtp_connect"}

// laned returns a lane for the first queue, and its changes.
func (b *bench) laned(p event.Probing) (*event.Lane, <-chan event.LaneState) {
	b.Helper()
	changes := make(chan event.LaneState, 100)
	return event.NewLane(b.queues[0].Name, p, time.Now, func(s event.LaneState) { changes <- s }), changes
}

func pausedLane(b *bench) {
	b.open(event.Policy{}, 2, time.Second)
	lane, changes := b.laned(quickProbing)
	var refuses atomic.Bool
	refuses.Store(true)
	tried := make(chan string, 10_000)
	c := b.consumeIn(lane, func(_ context.Context, d event.Delivery) error {
		if refuses.Load() {
			tried <- d.ID
			return event.Blocked(errRefused)
		}
		return nil
	})
	messages := make([]event.Message, 30)
	for i := range messages {
		messages[i] = b.message("mail")
	}
	b.mustSend(messages...)
	paused := Next(b.T, changes)
	require.True(b, paused.Paused)
	require.Equal(b, "smtp_connect", paused.Class)
	begun := map[string]int{}
	for range 10 {
		begun[Next(b.T, tried)]++
	}
	require.LessOrEqual(b, len(begun), 2, "while a lane is paused nothing but the probe is tried")
	refuses.Store(false)
	handled := 0
	for handled < len(messages) {
		seen := Next(b.T, c.Seen)
		require.Zero(b, seen.Delivery.Attempts(), "%+v", seen)
		require.Zero(b, seen.Delivery.Moves())
		// RabbitMQ 3.10 has counted two for one message in about one pause of thirty. It is far from what moves a message.
		require.LessOrEqual(b, seen.Delivery.HandedOut, 2, "a pause gives a message back once")
		if seen.Decision.Outcome == event.Handled {
			handled++
		} else {
			require.Equal(b, event.Decision{Action: event.Requeue, Outcome: event.Paused}, seen.Decision)
		}
	}
	require.False(b, Next(b.T, changes).Paused)
	require.Empty(b, changes, "one pause")
	require.Empty(b, b.allDead())
}

func probePassesOn(b *bench) {
	b.open(event.Policy{Levels: []time.Duration{forever}, GiveUpAfter: 2 * forever}, 1, time.Second)
	lane, changes := b.laned(quickProbing)
	tries := map[string]int{}
	var accepts atomic.Bool
	c := b.consumeIn(lane, func(_ context.Context, d event.Delivery) error {
		tries[d.RoutingKey]++
		switch {
		case tries[d.RoutingKey] == 1 && d.RoutingKey == string(b.key("odd")):
			return event.Blocked(errRefused)
		case d.RoutingKey == string(b.key("odd")):
			return errors.New("this mail alone")
		case d.RoutingKey == string(b.key("old")):
			return event.Drop(event.DropExpired)
		case !accepts.Load():
			return event.Blocked(errRefused)
		}
		return nil
	})
	b.mustSend(b.message("odd"), b.message("old"), b.message("good"), b.message("good"))
	require.True(b, Next(b.T, changes).Paused)
	// next returns what becomes of the next message. Which one is the probe when, is the broker's to say: a pause gives all
	// of them back.
	next := func() Observation {
		for {
			if seen := Next(b.T, c.Seen); seen.Decision.Outcome != event.Paused {
				return seen
			}
		}
	}
	ended := map[string]event.Decision{}
	for range 2 {
		seen := next()
		ended[seen.Decision.Outcome] = seen.Decision
	}
	require.Equal(b, event.Retry, ended["retry"].Action, "%+v", ended)
	require.Equal(b, "1", ended["retry"].Headers[event.HeaderAttempts])
	require.Equal(b, event.Ack, ended[event.DropExpired].Action, "%+v", ended)
	require.Empty(b, changes, "the server has accepted nothing yet")
	accepts.Store(true)
	for range 2 {
		require.Equal(b, event.Handled, next().Decision.Outcome)
	}
	require.False(b, Next(b.T, changes).Paused)
}

func probeGivesWay(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 1, time.Second)
	brief := quickProbing
	brief.Hold = 30 * time.Millisecond
	lane, changes := b.laned(brief)
	b.mustSend(b.message("first"), b.message("second"))
	moved := map[string]bool{}
	c := b.consumeIn(lane, func(_ context.Context, d event.Delivery) error {
		if moved[d.RoutingKey] = moved[d.RoutingKey] || d.Moves() > 0; len(moved) < 2 || !moved[d.RoutingKey] {
			return event.Blocked(errRefused)
		}
		return nil
	})
	require.True(b, Next(b.T, changes).Paused)
	for handled := 0; handled < 2; {
		seen := Next(b.T, c.Seen)
		require.Zero(b, seen.Delivery.Attempts())
		require.True(b, seen.Delivery.FirstFailed().IsZero(), "its clock is not started")
		if seen.Decision.Outcome == event.Handled {
			handled++
			continue
		}
		require.Equal(b, event.Paused, seen.Decision.Outcome)
		require.NotContains(b, seen.Decision.Headers, event.HeaderAttempts)
	}
	require.Empty(b, b.allDead())
}

func flappingLane(b *bench) {
	b.open(event.Policy{Levels: short[:1]}, 1, time.Second)
	lane, _ := b.laned(quickProbing)
	messages := make([]event.Message, event.CrashLoopLimit+5)
	for i := range messages {
		messages[i] = b.message("mail")
	}
	b.mustSend(messages...)
	refuse := false
	c := b.consumeIn(lane, func(context.Context, event.Delivery) error {
		if refuse = !refuse; refuse {
			return event.Blocked(errRefused)
		}
		return nil
	})
	for handled := 0; handled < len(messages); {
		seen := Next(b.T, c.Seen)
		require.NotEqual(b, event.Dead, seen.Decision.Action, "%+v", seen)
		require.Zero(b, seen.Delivery.Attempts())
		if seen.Decision.Outcome == event.Handled {
			handled++
		}
	}
	require.Empty(b, b.allDead())
}

func stoppedLane(b *bench) {
	b.open(event.Policy{}, 2, patience)
	lane, changes := b.laned(quickProbing)
	messages := []event.Message{b.message("one"), b.message("two"), b.message("three")}
	b.mustSend(messages...)
	c := b.consumeIn(lane, func(context.Context, event.Delivery) error { return event.Blocked(errRefused) })
	require.True(b, Next(b.T, changes).Paused)
	c.stop()
	again := b.consume(done)
	var got []string
	for range messages {
		seen := b.next(again, event.Ack, event.Handled)
		require.Zero(b, seen.Delivery.Attempts())
		require.LessOrEqual(b, seen.Delivery.HandedOut, 2)
		got = append(got, seen.Delivery.ID)
	}
	require.ElementsMatch(b, ids(messages...), got)
}

func laneBeside(b *bench) {
	b.open(event.Policy{}, 1, time.Second, []string{"mail"}, []string{"state"})
	lane, changes := b.laned(quickProbing)
	c := b.consumeIn(lane, func(_ context.Context, d event.Delivery) error {
		if d.RoutingKey == string(b.key("mail")) {
			return event.Blocked(errRefused)
		}
		return nil
	})
	b.mustSend(b.message("mail"))
	require.True(b, Next(b.T, changes).Paused)
	state := b.message("state")
	b.mustSend(state)
	require.Equal(b, state.ID, b.next(c, event.Ack, event.Handled).Delivery.ID)
}

func haltedLane(b *bench) {
	b.open(event.Policy{}, 2, time.Second, []string{"mail"}, []string{"state"})
	lane, changes := b.laned(quickProbing)
	begun, release := make(chan string, 100), make(chan struct{})
	c := b.consumeIn(lane, func(_ context.Context, d event.Delivery) error {
		if d.RoutingKey == string(b.key("mail")) {
			begun <- d.ID
			<-release
		}
		return nil
	})
	mails := make([]event.Message, 20)
	for i := range mails {
		mails[i] = b.message("mail")
	}
	b.mustSend(mails...)
	underWay := map[string]bool{Next(b.T, begun): true, Next(b.T, begun): true} // one for each worker
	require.True(b, lane.Halt(event.Halt{By: "an", Since: time.Now()}))
	close(release)
	// until reads what becomes of messages until as many are handled, of which nothing may be begun but allowed.
	until := func(handled int, allowed func(id string) bool) {
		for n := 0; n < handled; {
			seen := Next(b.T, c.Seen)
			require.Zero(b, seen.Delivery.Attempts())
			if seen.Decision.Outcome == event.Handled {
				require.True(b, allowed(seen.Delivery.ID))
				n++
				continue
			}
			require.Equal(b, event.Decision{Action: event.Requeue, Outcome: event.Paused}, seen.Decision)
		}
	}
	until(2, func(id string) bool { return underWay[id] })
	state := b.message("state")
	b.mustSend(state)
	until(1, func(id string) bool { return id == state.ID }) // another queue goes on
	require.Empty(b, begun, "nothing else is begun")
	require.True(b, lane.Resume())
	handled := map[string]bool{}
	until(len(mails)-2, func(id string) bool {
		again := underWay[id] || handled[id]
		handled[id] = true
		return !again
	})
	require.Empty(b, changes, "the lane was never paused by a refusal")
	require.Empty(b, b.allDead())
}
