package event_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// lane is an event.Lane in a bubble of synctest, where time passes only while everybody waits.
type lane struct {
	*testing.T
	*event.Lane
	changes []event.LaneState
}

// inLane runs test with an open lane.
func inLane(t *testing.T, test func(l *lane)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lane{T: t}
		note := func(s event.LaneState) { l.changes = append(l.changes, s) }
		l.Lane = event.NewLane("q", event.DefaultProbing, time.Now, note)
		test(l)
	})
}

func sleep(d time.Duration) bool { <-time.After(d); return true }

// handle runs the handler of one message until the lane lets go of it.
func (l *lane) handle(probe bool, h event.Handler) error {
	return l.Handle(l.Context(), event.Delivery{}, probe, h, sleep)
}

// untilAccepted runs the handler of one message after the other until it returns nil.
func (l *lane) untilAccepted(h event.Handler) {
	for probe := false; l.handle(probe, h) != nil; {
		probe = l.Await(l.Context())
		require.True(l, probe)
	}
}

// pause begins a pause, and gives the probe back.
func (l *lane) pause() {
	err := l.Handle(l.Context(), event.Delivery{}, false, returning(event.Blocked(classed{})),
		func(time.Duration) bool { return false })
	require.Equal(l, event.Paused, outcome(err, 0))
	require.True(l, l.State().Paused)
}

func outcome(err error, handedOut int) string {
	return event.Decide(err, event.Delivery{HandedOut: handedOut}, policy, false, now).Outcome
}

func TestLane(t *testing.T) {
	t.Parallel()
	t.Run("a probe is made after 1, 2 and then every 4 seconds", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			began, at := time.Now(), []int{}
			l.untilAccepted(func(context.Context, event.Delivery) error {
				if at = append(at, int(time.Since(began).Seconds())); len(at) < 6 {
					return event.Blocked(classed{})
				}
				return nil
			})
			require.Equal(l, []int{0, 1, 3, 7, 11, 15}, at)
			require.Equal(l, []event.LaneState{
				{Queue: "q", Paused: true, Since: began, Class: "smtp_450", Next: began.Add(time.Second)},
				{Queue: "q", Lasted: 15 * time.Second},
			}, l.changes, "said once, and once that it is over")
		})
	})
	t.Run("a refusal that will stay is probed at its own pace", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			began, tries := time.Now(), 0
			l.untilAccepted(func(context.Context, event.Delivery) error {
				if tries++; tries < 4 {
					return event.BlockedFor(30*time.Second, classed{})
				}
				return nil
			})
			require.Equal(l, 90*time.Second, time.Since(began))
		})
	})
	t.Run("one message probes, the others are given back", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			both, refused := make(chan struct{}), make(chan error)
			for range 2 {
				go func() {
					tries := 0
					refused <- l.handle(false, func(context.Context, event.Delivery) error {
						if tries++; tries == 1 {
							<-both
							return event.Blocked(classed{})
						}
						return nil
					})
				}()
			}
			synctest.Wait()
			close(both)
			require.Equal(l, event.Paused, outcome(<-refused, 0))
			require.Equal(l, event.Paused, outcome(l.handle(false, func(context.Context, event.Delivery) error {
				panic("nothing is begun while the lane is paused")
			}), 0))
			require.NoError(l, <-refused)
			require.False(l, l.State().Paused)
		})
	})
	t.Run("a message handed out often is moved, for the broker would take it for a crash loop", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			often := event.Delivery{HandedOut: event.CrashLoopLimit / 2}
			err := l.Handle(l.Context(), often, false, returning(event.Blocked(classed{})),
				func(time.Duration) bool { panic("a probe that is held would be handed out again by every kill") })
			require.Equal(l, event.Retry, event.Decide(err, often, policy, false, now).Action)
			require.True(l, l.State().Paused)
			err = l.handle(false, nil)
			require.Equal(l, event.Paused, outcome(err, event.CrashLoopLimit/2-1))
			decision := event.Decide(err, event.Delivery{HandedOut: event.CrashLoopLimit / 2}, policy, false, now)
			require.Equal(l, event.Retry, decision.Action)
			require.Zero(l, decision.Level)
			require.NotContains(l, decision.Headers, event.HeaderAttempts)
			require.NotContains(l, decision.Headers, event.HeaderFirstFailed)
		})
	})
	t.Run("a probe that takes long is moved behind the others", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			began := time.Now()
			err := l.handle(false, returning(event.Blocked(classed{})))
			require.Equal(l, event.Retry, event.Decide(err, event.Delivery{}, policy, false, now).Action)
			require.Equal(l, 11*time.Second, time.Since(began))
			require.True(l, l.Await(l.Context()))
			require.Equal(l, 15*time.Second, time.Since(began), "no probe is left out, and none made twice")
		})
	})
	t.Run("only a probe that was accepted opens the lane", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct {
			result error
			wait   time.Duration // before the next message is tried
		}{
			"expired":  {event.Drop(event.DropExpired), 0},
			"rejected": {event.Permanent(event.ReasonRejected, classed{}), 0},
			"failed":   {errors.New("this mail alone"), time.Second},
		} {
			inLane(t, func(l *lane) {
				l.pause()
				require.True(l, l.Await(l.Context()), name)
				require.Equal(l, test.result, l.handle(true, returning(test.result)), name)
				require.True(l, l.State().Paused, name)
				began := time.Now()
				require.True(l, l.Await(l.Context()), name)
				require.Equal(l, test.wait, time.Since(began), name)
				require.NoError(l, l.handle(true, returning(nil)), name)
				require.False(l, l.State().Paused, name)
				require.False(l, l.Await(l.Context()), name)
			})
		}
	})
	t.Run("what was begun before the pause does not open the lane, nor pause it again", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			var slow []chan error
			ended := make(chan error)
			for range 2 {
				result := make(chan error, 2)
				slow = append(slow, result)
				go func() { ended <- l.handle(false, func(context.Context, event.Delivery) error { return <-result }) }()
			}
			synctest.Wait()
			l.pause()
			slow[0] <- nil
			require.NoError(l, <-ended)
			require.True(l, l.State().Paused)
			require.True(l, l.Await(l.Context()))
			require.NoError(l, l.handle(true, returning(nil)))
			slow[1] <- event.Blocked(classed{}) // as of before the opening: it is tried again at once
			slow[1] <- nil
			require.NoError(l, <-ended)
			require.Len(l, l.changes, 2)
		})
	})
	t.Run("one caller at a time gets the probe", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			l.pause()
			require.True(l, l.Await(l.Context()))
			ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
			defer cancel()
			require.False(l, l.Await(ctx))
			require.False(l, l.Await(ctx), "not even when one is due: the context has ended")
			l.Release()
			require.True(l, l.Await(l.Context()))
		})
	})
	t.Run("a queue that stays empty opens its lane: nothing is owed", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			l.pause()
			began := time.Now()
			for l.Await(l.Context()) {
				l.Missed()
			}
			require.Equal(l, event.DefaultProbing.Idle, time.Since(began))
			require.False(l, l.State().Paused)
		})
	})
	t.Run("nothing is given up for the time its lane was paused", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			d := event.Delivery{Message: event.Message{Headers: map[string]string{
				event.HeaderAttempts: strconv.Itoa(1), event.HeaderFirstFailed: time.Now().Format(time.RFC3339Nano),
			}}}
			boom, failing := errors.New("boom"), error(nil)
			limited := event.Chain(func(context.Context, event.Delivery) error { return failing }, event.Limit(policy, time.Now))
			try := func(probe bool) error { return l.Handle(l.Context(), d, probe, limited, sleep) }
			sleep(policy.GiveUpAfter / 2)
			for range 2 { // one pause that has ended, and one that lasts
				l.pause()
				sleep(policy.GiveUpAfter)
				require.True(l, l.Await(l.Context()))
				failing = boom
				require.Equal(l, boom, try(true))
				failing = nil
				require.True(l, l.Await(l.Context()))
				require.NoError(l, try(true))
			}
			failing = boom
			sleep(policy.GiveUpAfter/2 - 3*time.Second)
			require.Equal(l, boom, try(false))
			sleep(3 * time.Second)
			ended, _ := event.Ended(try(false))
			require.Equal(l, event.ReasonExhausted, ended)
		})
	})
	t.Run("a queue without a lane keeps what is blocked on its last level", func(t *testing.T) {
		t.Parallel()
		var none *event.Lane
		h := event.Chain(returning(event.Blocked(classed{})), event.Limit(policy, clock))
		d := tried(2, 2*time.Hour)
		err := none.Handle(t.Context(), d, false, h, nil)
		decision := event.Decide(err, d, policy, false, now)
		require.Equal(t, event.Retry, decision.Action)
		require.Equal(t, len(policy.Levels)-1, decision.Level)
		require.NotContains(t, decision.Headers, event.HeaderAttempts)
		require.Nil(t, none.Paused())
		require.False(t, none.Await(t.Context()))
	})
}
