package redispubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

var errDown = errors.New("redis is unavailable")

// reader returns the progress of every project and records its calls.
type reader struct {
	mu      sync.Mutex
	done    int64
	err     error
	calls   []time.Time
	at, max int           // reads at a time
	takes   time.Duration // for each of them
}

func (r *reader) Progress(ctx context.Context, id string) (project.Progress, string, error) {
	r.mu.Lock()
	r.calls = append(r.calls, time.Now())
	r.at++
	r.max = max(r.max, r.at)
	takes := r.takes
	r.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at--
	p := project.Progress{ProjectID: id, Status: project.StatusProcessing, Total: 1000, Done: r.done}
	return p, "user-1", errors.Join(r.err, ctx.Err())
}

func (r *reader) set(done int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.err = done, err
}

func (r *reader) reads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

func newSubscriber(r *reader) *Subscriber {
	return NewSubscriber(SubscriberOptions{Reader: r, OnOutage: func(error) {}})
}

// wait advances the clock by d and waits until every goroutine is blocked.
func wait(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func requireNothing(t *testing.T, changes <-chan project.Progress) {
	t.Helper()
	select {
	case p := <-changes:
		require.Fail(t, "unexpected progress", "%+v", p)
	default:
	}
}

func TestSubscriber(t *testing.T) {
	t.Parallel()
	t.Run("reads a few times in a burst of hints and once after the last", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{}
			s := newSubscriber(r)
			changes, stop := s.Watch("p")
			defer stop()
			wait(0)
			require.EqualValues(t, 0, (<-changes).Done, "at once, without a hint")
			wait(time.Minute)
			<-changes
			before := r.reads()
			for i := range 100 { // one second
				r.set(int64(i+1), nil)
				s.hint("p")
				s.hint("another")
				wait(10 * time.Millisecond)
			}
			require.LessOrEqual(t, r.reads()-before, 6)
			require.GreaterOrEqual(t, r.reads()-before, 5)
			wait(readEvery)
			require.EqualValues(t, 100, (<-changes).Done, "the last progress is the latest")
			requireNothing(t, changes)
			for i, at := range r.calls[1:] {
				require.GreaterOrEqual(t, at.Sub(r.calls[i]), readEvery)
			}
		})
	})
	t.Run("reads once for a thousand watchers", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{}
			s := newSubscriber(r)
			var all []<-chan project.Progress
			for range 1000 {
				changes, stop := s.Watch("p")
				defer stop()
				all = append(all, changes)
			}
			wait(time.Second)
			require.LessOrEqual(t, r.reads(), 2, "watchers share a read")
			r.set(1, nil)
			s.hint("p")
			wait(time.Second)
			r.set(2, nil)
			s.hint("p")
			wait(time.Second)
			require.LessOrEqual(t, r.reads(), 4)
			for _, changes := range all {
				require.EqualValues(t, 2, (<-changes).Done, "unreceived progress is replaced")
				requireNothing(t, changes)
			}
		})
	})
	t.Run("delivers the progress to a late watcher", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newSubscriber(&reader{})
			_, stop := s.Watch("p")
			defer stop()
			wait(time.Second)
			changes, stop := s.Watch("p")
			defer stop()
			wait(0)
			require.Equal(t, "p", (<-changes).ProjectID)
		})
	})
	t.Run("reads without a hint after 15 s", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{}
			changes, stop := newSubscriber(r).Watch("p")
			defer stop()
			wait(time.Second)
			<-changes
			r.set(7, nil)
			wait(readAnyway)
			require.EqualValues(t, 7, (<-changes).Done)
		})
	})
	t.Run("retries a failed read", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{err: errDown}
			s := newSubscriber(r)
			changes, stop := s.Watch("p")
			defer stop()
			wait(time.Second)
			require.Equal(t, 1, r.reads())
			requireNothing(t, changes)
			wait(readRetry)
			require.Equal(t, 2, r.reads())
			r.set(3, nil)
			s.hintAll() // the subscription has recovered
			wait(readEvery)
			require.EqualValues(t, 3, (<-changes).Done)
		})
	})
	t.Run("gives up a read that hangs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{takes: time.Hour}
			_, stop := newSubscriber(r).Watch("p")
			defer stop()
			wait(readTimeout + readEvery + readRetry)
			require.Equal(t, 2, r.reads())
		})
	})
	t.Run("limits concurrent reads", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{takes: 10 * time.Millisecond}
			s := newSubscriber(r)
			for i := range 100 {
				_, stop := s.Watch(fmt.Sprint(i))
				defer stop()
			}
			wait(time.Second)
			require.Equal(t, 100, r.reads())
			require.Equal(t, maxReads, r.max)
		})
	})
	// A bubble waits for its goroutines: a goroutine that stayed would fail this test.
	t.Run("stops reading with the last watcher", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reader{}
			s := newSubscriber(r)
			_, stopOne := s.Watch("p")
			two, stopTwo := s.Watch("p")
			wait(time.Second)
			<-two
			stopOne()
			stopOne()
			s.hint("p")
			wait(time.Second)
			require.Equal(t, "p", (<-two).ProjectID, "the other watcher stays")
			stopTwo()
			require.Empty(t, s.topics)
			before := r.reads()
			s.hint("p")
			wait(time.Minute)
			require.Equal(t, before, r.reads())

			again, stop := s.Watch("p")
			stopTwo()
			wait(time.Second)
			require.Equal(t, "p", (<-again).ProjectID, "a second stop affects no other watcher")
			stop()
		})
	})
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	t.Run("wakes many watchers in waves, and all of them before the next read", func(t *testing.T) {
		t.Parallel()
		for n, waves := range map[int]int{1: 1, waveSize: 1, 1000: 91, 100_000: maxWaves} {
			synctest.Test(t, func(t *testing.T) {
				o := &topic{ctx: t.Context(), watchers: map[chan project.Progress]struct{}{}}
				at := make(chan time.Duration, n)
				started := time.Now()
				for range n {
					w := make(chan project.Progress, 1)
					o.watchers[w] = struct{}{}
					go func() { <-w; at <- time.Since(started) }()
				}
				synctest.Wait()
				o.deliver(project.Progress{})
				synctest.Wait()
				require.Len(t, at, n)
				seen := map[time.Duration]bool{}
				for range n {
					when := <-at
					require.Less(t, when, readEvery)
					seen[when] = true
				}
				require.Len(t, seen, waves)
			})
		}
	})

	t.Run("ends with the last watcher", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			o := &topic{ctx: ctx, watchers: map[chan project.Progress]struct{}{}}
			for range 2 * waveSize {
				o.watchers[make(chan project.Progress, 1)] = struct{}{}
			}
			end()
			started := time.Now()
			o.deliver(project.Progress{})
			require.Less(t, time.Since(started), 2*wavePause)
		})
	})
}
