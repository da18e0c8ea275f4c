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

// published records what was published, and when.
type published struct {
	mu    sync.Mutex
	err   error
	calls []int // updates per call
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

// running starts a publisher; end stops it and waits for it.
func running(t *testing.T) (p *Publisher, out *published, reports chan error, end func()) {
	out, reports = &published{}, make(chan error, 10)
	p = NewPublisher(PublisherOptions{OnOutage: func(err error) { reports <- err }})
	p.send = out.publish
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, out, reports, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func at(id string, done int64) project.Progress {
	return project.Progress{ProjectID: id, Status: project.StatusProcessing, Total: 1000, Done: done}
}

func TestPublisher(t *testing.T) {
	t.Parallel()
	t.Run("publishes the first change at once and always the last", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, out, _, end := running(t)
			defer end()
			began := time.Now()
			for i := range 100 { // one second
				p.Publish("user-1", at("p", int64(i+1)))
				wait(10 * time.Millisecond)
			}
			wait(publishEvery)
			require.Equal(t, began, out.at[0])
			require.LessOrEqual(t, len(out.sent), 7)
			require.Equal(t, at("p", 100), out.sent[len(out.sent)-1])
			for i, when := range out.at[1:] {
				require.GreaterOrEqual(t, when.Sub(out.at[i]), publishEvery)
			}
		})
	})
	t.Run("ignores a project without an owner", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, out, _, end := running(t)
			defer end()
			p.Publish("", at("p", 1))
			wait(time.Second)
			require.Empty(t, out.sent)
		})
	})
	t.Run("never replaces a change by an older one", func(t *testing.T) {
		t.Parallel()
		final := func(status project.Status, done, errors int64) project.Progress {
			return project.Progress{ProjectID: "p", Status: status, Total: 1000, Done: done, Errors: errors}
		}
		for name, tt := range map[string]struct{ first, second, last project.Progress }{
			"in order":           {at("p", 1), at("p", 2), at("p", 2)},
			"out of order":       {at("p", 2), at("p", 1), at("p", 2)},
			"done, then older":   {final(project.StatusDone, 1000, 0), at("p", 1000), final(project.StatusDone, 1000, 0)},
			"failed, then older": {final(project.StatusFailed, 3, 0), at("p", 4), final(project.StatusFailed, 3, 0)},
			"done after all":     {at("p", 1000), final(project.StatusDone, 1000, 0), final(project.StatusDone, 1000, 0)},
			"a repair":           {final(project.StatusDone, 1000, 2), final(project.StatusDone, 1000, 1), final(project.StatusDone, 1000, 1)},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := NewPublisher(PublisherOptions{OnOutage: nil})
				p.Publish("user-1", tt.first)
				p.Publish("user-1", tt.second)
				require.Equal(t, tt.last, p.pending["p"].progress)
			})
		}
	})
	t.Run("pipelines many projects", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, out, _, end := running(t)
			defer end()
			p.Publish("user-1", at("first", 1))
			wait(0)
			for i := range 600 {
				p.Publish("user-1", at(fmt.Sprint(i), 1))
			}
			wait(publishEvery)
			require.Equal(t, []int{1, 256, 256, 88}, out.calls)
		})
	})
	t.Run("reports an outage once and publishes the latest after it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, out, reports, end := running(t)
			defer end()
			out.set(errDown)
			p.Publish("user-1", at("p", 1))
			p.Publish("user-1", at("q", 1))
			wait(5 * time.Second)
			p.Publish("user-1", at("p", 2))
			wait(5 * time.Second)
			require.ErrorIs(t, <-reports, errDown)
			require.Empty(t, reports)
			out.set(nil)
			wait(publishRetry)
			require.NoError(t, <-reports)
			require.ElementsMatch(t, []project.Progress{at("p", 2), at("q", 1)}, out.sent)
			wait(time.Minute)
			require.Len(t, out.sent, 2)
		})
	})
	t.Run("keeps a newer change than the one that failed", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(PublisherOptions{OnOutage: nil})
		p.send = func(context.Context, []update) error {
			p.Publish("user-1", at("p", 2))
			return errDown
		}
		p.Publish("user-1", at("p", 1))
		p.Publish("user-1", at("q", 1))
		require.ErrorIs(t, p.flush(context.Background()), errDown)
		require.Equal(t, map[string]update{"p": {"user-1", at("p", 2)}, "q": {"user-1", at("q", 1)}}, p.pending)
	})
	t.Run("bounds what is pending", func(t *testing.T) {
		t.Parallel()
		p := NewPublisher(PublisherOptions{OnOutage: nil})
		for i := range maxPending + 10 {
			p.Publish("user-1", at(fmt.Sprint(i), 1))
		}
		require.Len(t, p.pending, maxPending)
		p.Publish("user-1", at("0", 2))
		require.EqualValues(t, 2, p.pending["0"].progress.Done, "a pending project is updated")
	})
	t.Run("publishes the last changes at a stop", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, out, reports, end := running(t)
			p.Publish("user-1", at("p", 1))
			wait(0)
			p.Publish("user-1", at("p", 2))
			end()
			require.Equal(t, []project.Progress{at("p", 1), at("p", 2)}, out.sent)
			require.Empty(t, reports)
		})
	})
}
