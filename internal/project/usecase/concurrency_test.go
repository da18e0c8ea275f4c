package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/sqldb"
	"github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// memory is the store of one project: an item counts once, and a done project is open until it is signalled. The
// methods it lacks are not called.
type memory struct {
	project.ProgressStore

	mu        sync.Mutex
	progress  project.Progress
	items     map[string]bool
	signalled bool
}

func (m *memory) change() project.Change {
	c := project.Change{Progress: m.progress, Owner: "user-1"}
	if m.progress.Done >= m.progress.Total && m.progress.Total > 0 && m.progress.Status != project.StatusDone {
		m.progress.Status = project.StatusDone
		c.Status, c.Crossed = project.StatusDone, true
	}
	c.Unsignalled = c.Status == project.StatusDone && !m.signalled
	return c
}

func (m *memory) Mark(_ context.Context, _ string, items []project.Item) (project.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, item := range items {
		if !m.items[item.ID] {
			m.items[item.ID] = true
			m.progress.Done++
		}
	}
	return m.change(), nil
}

func (m *memory) Check(context.Context, string) (project.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.change(), nil
}

func (m *memory) Postpone(context.Context, string) error { return nil }

func (m *memory) MarkSignalled(context.Context, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signalled = true
	return nil
}

func (m *memory) ListOpen(context.Context, time.Duration, int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.signalled {
		return nil, nil
	}
	return []string{m.progress.ProjectID}, nil
}

// committed records events when their transaction commits, as the outbox does.
type committed struct {
	eventtest.Recorder
	db   *database.DB
	fail bool // the next call
}

func (c *committed) Publish(ctx context.Context, events ...event.Event) error {
	if _, err := c.db.Tx(ctx); err != nil {
		return err
	}
	if c.fail {
		c.fail = false
		return errDown
	}
	c.db.AfterCommit(ctx, func() { _ = c.Recorder.Publish(ctx, events...) })
	return nil
}

type silent struct{}

func (silent) Publish(string, project.Progress) {}

func TestCountingOnSQL(t *testing.T) {
	t.Parallel()
	t.Run("many workers store one job.completed", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			t.Parallel()
			const workers, items = 16, 20
			ctx := context.Background()
			events, seen := &committed{db: db, fail: true}, &observer{}
			store := &memory{
				items:    map[string]bool{},
				progress: project.Progress{ProjectID: "proj_1", Status: project.StatusProcessing, Total: items},
			}
			deps := usecase.Deps{
				Tx:          db,
				Clock:       database.NewClock(db),
				Progress:    store,
				Open:        store,
				Completions: sqldb.NewCompletions(db),
				Events:      events,
				Updates:     silent{},
				Observer:    seen,
			}
			counting := usecase.NewCounting(deps)
			errs, start := make([]error, workers), make(chan struct{})
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					<-start
					for i := range items { // every worker delivers every item
						_, err := counting.Mark(ctx, "proj_1", []project.Item{{ID: fmt.Sprint(i)}})
						errs[w] = errors.Join(errs[w], err)
					}
				})
			}
			close(start)
			wg.Wait()
			require.NoError(t, errors.Join(errs...), "the failed signal is no error of a verb")
			require.NoError(t, usecase.NewSweeper(deps).Sweep(ctx), "it repeats the signal if no verb did")
			require.Len(t, events.Events(), 1)
			require.EqualValues(t, items, events.Events()[0].Data.(event.JobCompletedData).Done)
			require.Len(t, seen.completed, 1)
			require.Len(t, seen.failed, 1)
			require.True(t, store.signalled)
		})
	})
}
