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

var errDown = errors.New("redis is away")

// reader answers how far each project is and remembers when it was asked.
type reader struct {
	mu      sync.Mutex
	done    int64
	err     error
	asked   []time.Time
	at, max int           // reads at a time
	takes   time.Duration // for each of them
}

func (r *reader) Progress(ctx context.Context, id string) (project.Progress, error) {
	r.mu.Lock()
	r.asked = append(r.asked, time.Now())
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
	return project.Progress{ProjectID: id, Status: project.StatusProcessing, Total: 1000, Done: r.done}, errors.Join(r.err, ctx.Err())
}

func (r *reader) set(done int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.err = done, err
}

func (r *reader) reads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

func newHub(r *reader) *Subscriber {
	return NewSubscriber(SubscriberOptions{Reader: r, OnOutage: func(error) {}})
}

// settled lets everything happen that happens without time passing, or within d.
func settled(d time.Duration) {
	time.Sleep(d) // of the test's own clock
	synctest.Wait()
}

func requireNothing(t *testing.T, changes <-chan project.Progress) {
	t.Helper()
	select {
	case p := <-changes:
		require.Fail(t, "something came", "%+v", p)
	default:
	}
}

func TestABurstOfHintsIsAFewReadsAndOneAfterTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		h := newHub(r)
		changes, stop := h.Watch("p")
		defer stop()
		settled(0)
		require.EqualValues(t, 0, (<-changes).Done, "at once, without any hint")
		settled(time.Minute)
		<-changes
		before := r.reads()
		for i := range 100 { // one second
			r.set(int64(i+1), nil)
			h.hint("p")
			h.hint("another")
			settled(10 * time.Millisecond)
		}
		require.LessOrEqual(t, r.reads()-before, 6)
		require.GreaterOrEqual(t, r.reads()-before, 5)
		settled(readEvery)
		require.EqualValues(t, 100, (<-changes).Done, "the last word is the last state")
		requireNothing(t, changes)
		for i, at := range r.asked[1:] {
			require.GreaterOrEqual(t, at.Sub(r.asked[i]), readEvery)
		}
	})
}

func TestAThousandWatchersAreOneRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		h := newHub(r)
		var all []<-chan project.Progress
		for range 1000 {
			changes, stop := h.Watch("p")
			defer stop()
			all = append(all, changes)
		}
		settled(time.Second)
		require.LessOrEqual(t, r.reads(), 2, "those who come at once are served at once")
		r.set(1, nil)
		h.hint("p")
		settled(time.Second)
		r.set(2, nil)
		h.hint("p")
		settled(time.Second)
		require.LessOrEqual(t, r.reads(), 4)
		for _, changes := range all {
			require.EqualValues(t, 2, (<-changes).Done, "what was not taken is replaced")
			requireNothing(t, changes)
		}
	})
}

func TestWhoComesLateIsToldToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(&reader{})
		_, stop := h.Watch("p")
		defer stop()
		settled(time.Second)
		changes, stop := h.Watch("p")
		defer stop()
		settled(0)
		require.Equal(t, "p", (<-changes).ProjectID)
	})
}

func TestALostHintIsRepaired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		changes, stop := newHub(r).Watch("p")
		defer stop()
		settled(time.Second)
		<-changes
		r.set(7, nil)
		settled(readAnyway)
		require.EqualValues(t, 7, (<-changes).Done)
	})
}

func TestWhatCannotBeReadIsReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{err: errDown}
		h := newHub(r)
		changes, stop := h.Watch("p")
		defer stop()
		settled(time.Second)
		require.Equal(t, 1, r.reads())
		requireNothing(t, changes)
		settled(readRetry)
		require.Equal(t, 2, r.reads())
		r.set(3, nil)
		h.hintAll() // the subscription is back
		settled(readEvery)
		require.EqualValues(t, 3, (<-changes).Done)
	})
}

func TestAReadThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{takes: time.Hour}
		_, stop := newHub(r).Watch("p")
		defer stop()
		settled(readTimeout + readEvery + readRetry)
		require.Equal(t, 2, r.reads())
	})
}

func TestReadsLeaveConnectionsFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{takes: 10 * time.Millisecond}
		h := newHub(r)
		for i := range 100 {
			_, stop := h.Watch(fmt.Sprint(i))
			defer stop()
		}
		settled(time.Second)
		require.Equal(t, 100, r.reads())
		require.Equal(t, maxReads, r.max)
	})
}

// A bubble does not end before its goroutines have: one that stayed would fail this test.
func TestTheLastWatcherEndsTheReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		h := newHub(r)
		_, stopOne := h.Watch("p")
		two, stopTwo := h.Watch("p")
		settled(time.Second)
		<-two
		stopOne()
		stopOne()
		h.hint("p")
		settled(time.Second)
		require.Equal(t, "p", (<-two).ProjectID, "the other one watches on")
		stopTwo()
		require.Empty(t, h.topics)
		before := r.reads()
		h.hint("p")
		settled(time.Minute)
		require.Equal(t, before, r.reads())

		again, stop := h.Watch("p")
		stopTwo()
		settled(time.Second)
		require.Equal(t, "p", (<-again).ProjectID, "who stops twice does not stop others")
		stop()
	})
}
