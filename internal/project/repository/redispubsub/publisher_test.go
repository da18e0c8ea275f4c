package redispubsub

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

// published remembers what left, and when.
type published struct {
	mu    sync.Mutex
	err   error
	calls []int // how many went together
	sent  []project.Progress
	at    []time.Time
}

func (p *published) publish(_ context.Context, some []update) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.calls = append(p.calls, len(some))
	for _, one := range some {
		p.sent, p.at = append(p.sent, one.progress), append(p.at, time.Now())
	}
	return nil
}

func (p *published) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// running starts an announcer in the test's bubble; end stops it and waits for it.
func running(t *testing.T) (a *Publisher, out *published, told chan error, end func()) {
	out, told = &published{}, make(chan error, 10)
	a = NewPublisher(PublisherOptions{OnOutage: func(err error) { told <- err }})
	a.send = out.publish
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return a, out, told, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func at(id string, done int64) project.Progress {
	return project.Progress{ProjectID: id, Status: project.StatusProcessing, Total: 1000, Done: done}
}

func TestTheFirstLeavesAtOnceAndTheLastForSure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, out, _, end := running(t)
		defer end()
		began := time.Now()
		for i := range 100 { // one second
			a.Publish("user-1", at("p", int64(i+1)))
			settled(10 * time.Millisecond)
		}
		settled(publishEvery)
		require.Equal(t, began, out.at[0])
		require.LessOrEqual(t, len(out.sent), 7)
		require.Equal(t, at("p", 100), out.sent[len(out.sent)-1])
		for i, when := range out.at[1:] {
			require.GreaterOrEqual(t, when.Sub(out.at[i]), publishEvery)
		}
	})
}

func TestWithoutAnOwnerNothingLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, out, _, end := running(t)
		defer end()
		a.Publish("", at("p", 1))
		settled(time.Second)
		require.Empty(t, out.sent)
	})
}

func TestTheLastWordIsNoOldOne(t *testing.T) {
	t.Parallel()
	final := func(status project.Status, done, errors int64) project.Progress {
		return project.Progress{ProjectID: "p", Status: status, Total: 1000, Done: done, Errors: errors}
	}
	for name, tt := range map[string]struct{ first, second, last project.Progress }{
		"in order":           {at("p", 1), at("p", 2), at("p", 2)},
		"the wrong way":      {at("p", 2), at("p", 1), at("p", 2)},
		"done, then older":   {final(project.StatusDone, 1000, 0), at("p", 1000), final(project.StatusDone, 1000, 0)},
		"failed, then older": {final(project.StatusFailed, 3, 0), at("p", 4), final(project.StatusFailed, 3, 0)},
		"done after all":     {at("p", 1000), final(project.StatusDone, 1000, 0), final(project.StatusDone, 1000, 0)},
		"a repair":           {final(project.StatusDone, 1000, 2), final(project.StatusDone, 1000, 1), final(project.StatusDone, 1000, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := NewPublisher(PublisherOptions{OnOutage: nil})
			a.Publish("user-1", tt.first)
			a.Publish("user-1", tt.second)
			require.Equal(t, tt.last, a.pending["p"].progress)
		})
	}
}

func TestManyProjectsGoTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, out, _, end := running(t)
		defer end()
		a.Publish("user-1", at("first", 1))
		settled(0)
		for i := range 600 {
			a.Publish("user-1", at(fmt.Sprint(i), 1))
		}
		settled(publishEvery)
		require.Equal(t, []int{1, 256, 256, 88}, out.calls)
	})
}

func TestAnOutageIsToldOnceAndTheLatestLeavesAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, out, told, end := running(t)
		defer end()
		out.set(errDown)
		a.Publish("user-1", at("p", 1))
		a.Publish("user-1", at("q", 1))
		settled(5 * time.Second)
		a.Publish("user-1", at("p", 2))
		settled(5 * time.Second)
		require.ErrorIs(t, <-told, errDown)
		require.Empty(t, told)
		out.set(nil)
		settled(publishRetry)
		require.NoError(t, <-told)
		require.ElementsMatch(t, []project.Progress{at("p", 2), at("q", 1)}, out.sent)
		settled(time.Minute)
		require.Len(t, out.sent, 2)
	})
}

func TestWhatIsPutBackDoesNotHideWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	a := NewPublisher(PublisherOptions{OnOutage: nil})
	a.send = func(context.Context, []update) error {
		a.Publish("user-1", at("p", 2))
		return errDown
	}
	a.Publish("user-1", at("p", 1))
	a.Publish("user-1", at("q", 1))
	require.ErrorIs(t, a.flush(context.Background()), errDown)
	require.Equal(t, map[string]update{"p": {"user-1", at("p", 2)}, "q": {"user-1", at("q", 1)}}, a.pending)
}

func TestWhatWaitsIsBounded(t *testing.T) {
	t.Parallel()
	a := NewPublisher(PublisherOptions{OnOutage: nil})
	for i := range maxPending + 10 {
		a.Publish("user-1", at(fmt.Sprint(i), 1))
	}
	require.Len(t, a.pending, maxPending)
	a.Publish("user-1", at("0", 2))
	require.EqualValues(t, 2, a.pending["0"].progress.Done, "what waits already is kept up to date")
}

func TestAStopLetsTheLastLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, out, told, end := running(t)
		a.Publish("user-1", at("p", 1))
		settled(0)
		a.Publish("user-1", at("p", 2))
		end()
		require.Equal(t, []project.Progress{at("p", 1), at("p", 2)}, out.sent)
		require.Empty(t, told)
	})
}
