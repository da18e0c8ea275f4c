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

func (l *lane) halt() {
	require.True(l, l.Halt(event.Halt{By: "an", Reason: "server moves", Since: time.Now()}))
}

// awaited starts a caller of Await, and returns a channel with what it returns.
func (l *lane) awaited() <-chan bool {
	probe := make(chan bool, 1)
	go func() { probe <- l.Await(l.Context()) }()
	synctest.Wait()
	return probe
}

func unused(context.Context, event.Delivery) error {
	panic("nothing is begun while the lane is halted")
}

func TestHalt(t *testing.T) {
	t.Parallel()
	t.Run("nothing is taken until a person says so, for as long as it takes", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			open, began := l.Paused(), time.Now()
			l.halt()
			require.True(l, l.IsPaused())
			require.NotPanics(l, func() { <-open }, "those that consume learn of it")
			require.Equal(l, event.LaneState{Queue: "q", Halt: &event.Halt{By: "an", Reason: "server moves", Since: began}}, l.State())
			probe := l.awaited()
			sleep(24 * time.Hour)
			require.Empty(l, probe, "nor is anything probed")
			require.True(l, l.Resume())
			require.False(l, <-probe)
			require.False(l, l.IsPaused())
			require.Equal(l, event.LaneState{Queue: "q"}, l.State())
			require.NoError(l, l.handle(false, returning(nil)))
			require.Empty(l, l.changes, "the mail server has nothing to do with it")
		})
	})
	t.Run("is said again when it is another, and not when it is the same", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			require.False(l, l.Resume())
			h := event.Halt{By: "an", Since: time.Now()}
			require.True(l, l.Halt(h))
			require.False(l, l.Halt(h))
			h.By = "binh"
			require.True(l, l.Halt(h))
			require.Equal(l, "binh", l.State().Halt.By)
			require.True(l, l.Resume())
		})
	})
	t.Run("what is being handled ends, what is not begun is given back and counts as no try", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			sent, ended := make(chan error), make(chan error)
			go func() { ended <- l.handle(false, func(context.Context, event.Delivery) error { return <-sent }) }()
			synctest.Wait()
			l.halt()
			err := l.handle(false, unused)
			require.Equal(l, event.Decision{Action: event.Requeue, Outcome: event.Paused}, event.Decide(err, event.Delivery{}, policy, false, now))
			sent <- nil
			require.NoError(l, <-ended)
			require.True(l, l.IsPaused(), "a mail that was accepted opens nothing")
		})
	})
	t.Run("stops a probe, which goes on after it", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			tries, ended := 0, make(chan error, 1)
			go func() {
				ended <- l.handle(false, func(context.Context, event.Delivery) error {
					tries++
					return event.Blocked(classed{})
				})
			}()
			synctest.Wait()
			l.halt()
			require.Equal(l, event.Paused, outcome(<-ended, 0))
			require.Equal(l, 1, tries)
			probe := l.awaited()
			require.Equal(l, event.Paused, outcome(l.handle(true, unused), 0), "one that was just taken")
			sleep(time.Hour)
			require.Empty(l, probe)
			require.True(l, l.State().Paused, "it is not known that the server accepts anything")
			l.Resume()
			require.True(l, <-probe)
			require.NoError(l, l.handle(true, returning(nil)))
			require.False(l, l.IsPaused())
		})
	})
	t.Run("outlives the pause, and the pause it", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			answer, ended := make(chan error), make(chan error, 2)
			begin := func() {
				go func() {
					ended <- l.Handle(l.Context(), event.Delivery{}, l.State().Paused,
						func(context.Context, event.Delivery) error { return <-answer }, sleep)
				}()
				synctest.Wait()
			}
			begin()
			l.halt()
			answer <- event.Blocked(classed{})
			require.Equal(l, event.Paused, outcome(<-ended, 0))
			l.Resume()
			require.True(l, l.IsPaused(), "the server has refused meanwhile")
			require.True(l, l.Await(l.Context()))
			begin()
			l.halt()
			answer <- nil
			require.NoError(l, <-ended)
			require.False(l, l.State().Paused)
			require.True(l, l.IsPaused())
			l.Resume()
			require.False(l, l.IsPaused())
			require.Len(l, l.changes, 2)
		})
	})
	t.Run("nothing is given up for its time, also of before this process, and none counts twice", func(t *testing.T) {
		t.Parallel()
		inLane(t, func(l *lane) {
			first := time.Now()
			d := event.Delivery{Message: event.Message{Headers: map[string]string{
				event.HeaderAttempts: strconv.Itoa(1), event.HeaderFirstFailed: first.Format(time.RFC3339Nano),
			}}}
			var paused time.Duration
			look := func(_ context.Context, d event.Delivery) error { paused = d.PausedFor; return errors.New("boom") }
			sleep(time.Hour)
			l.Halt(event.Halt{By: "an", Since: first.Add(time.Minute)}) // as one that has just started learns
			sleep(time.Hour)
			l.Resume()
			_ = l.Handle(l.Context(), d, false, look, sleep)
			require.Equal(l, 2*time.Hour-time.Minute, paused)

			l.pause()
			sleep(time.Minute)
			l.halt()
			sleep(time.Minute)
			l.Resume()
			sleep(time.Minute)
			require.True(l, l.Await(l.Context()))
			_ = l.Handle(l.Context(), d, true, look, sleep)
			require.Equal(l, 2*time.Hour+2*time.Minute, paused)
		})
	})
}
