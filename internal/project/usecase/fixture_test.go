package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/mock"
	"github.com/smap-platform/identity/internal/project/usecase"
)

var (
	now     = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	errDown = errors.New("the database is down")
)

type clock struct{}

func (clock) Now() time.Time { return now }

type inTx struct{}

// transactor marks the context and records the end of each transaction.
type transactor struct {
	commit error // if set, returned instead of committing
	ends   []string
}

func (tr *transactor) WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error {
	err := fn(context.WithValue(ctx, inTx{}, true))
	if err == nil {
		err = tr.commit
	}
	if err != nil {
		tr.ends = append(tr.ends, "rollback")
		return err
	}
	tr.ends = append(tr.ends, "commit")
	return nil
}

// inATx matches the context of a transaction, outsideATx any other.
func inATx() gomock.Matcher      { return txMatcher{true} }
func outsideATx() gomock.Matcher { return txMatcher{false} }

type txMatcher struct{ inside bool }

func (m txMatcher) Matches(x any) bool {
	ctx, ok := x.(context.Context)
	return ok && (ctx.Value(inTx{}) != nil) == m.inside
}

func (m txMatcher) String() string {
	if m.inside {
		return "a context in a transaction"
	}
	return "a context outside a transaction"
}

// publisher refuses events outside a transaction, as the outbox does.
type publisher struct{ eventtest.Recorder }

func (p *publisher) Publish(ctx context.Context, events ...event.Event) error {
	if ctx.Value(inTx{}) == nil {
		return errors.New("there is no transaction")
	}
	return p.Recorder.Publish(ctx, events...)
}

// observer records its notifications.
type observer struct {
	mu        sync.Mutex
	completed []project.Completion
	failed    []error
	passed    []string
	sweeps    chan error // if set
}

func (o *observer) Completed(c project.Completion) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.completed = append(o.completed, c)
}

func (o *observer) SignalFailed(_ string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, err)
}

func (o *observer) SweepFailed(projectID string, again bool, _ error) {
	o.passed = append(o.passed, fmt.Sprintf("%s again=%t", projectID, again))
}

func (o *observer) SweepHealth(err error) { o.sweeps <- err }

type fixture struct {
	deps        usecase.Deps
	tx          *transactor
	store       *mock.MockProgressStore
	open        *mock.MockOpenProjects
	completions *mock.MockCompletionRepository
	listener    *mock.MockCompletionListener
	updates     *mock.MockProgressPublisher
	events      *publisher
	observer    *observer
}

func newFixture(t *testing.T) fixture {
	ctrl := gomock.NewController(t)
	f := fixture{
		tx:          &transactor{},
		store:       mock.NewMockProgressStore(ctrl),
		open:        mock.NewMockOpenProjects(ctrl),
		completions: mock.NewMockCompletionRepository(ctrl),
		listener:    mock.NewMockCompletionListener(ctrl),
		updates:     mock.NewMockProgressPublisher(ctrl),
		events:      &publisher{},
		observer:    &observer{sweeps: make(chan error)},
	}
	f.deps = usecase.Deps{
		Tx:          f.tx,
		Clock:       clock{},
		Progress:    f.store,
		Open:        f.open,
		Completions: f.completions,
		Events:      f.events,
		Listener:    f.listener,
		Updates:     f.updates,
		Observer:    f.observer,
	}
	return f
}

func (f fixture) counting() *usecase.Counting { return usecase.NewCounting(f.deps) }

// running returns a project in progress, done one that is done and not signalled.
func running() project.Change {
	return project.Change{
		Progress: project.Progress{ProjectID: "proj_1", Status: project.StatusProcessing, Total: 4, Done: 3, Errors: 1},
		Owner:    "user-1",
	}
}

func done() project.Change {
	c := running()
	c.Status, c.Done, c.Unsignalled = project.StatusDone, 4, true
	return c
}

func completion() project.Completion {
	return project.Completion{Progress: done().Progress, Owner: "user-1", CompletedAt: now}
}

// expectSignal expects a signal that succeeds, as the first of its project or not.
func (f fixture) expectSignal(first bool) {
	id := usecase.CompletedEventID("proj_1")
	f.completions.EXPECT().Add(inATx(), "proj_1", id, now).Return(first, nil)
	if first {
		f.listener.EXPECT().ProjectCompleted(inATx(), completion()).Return(nil)
	}
	f.open.EXPECT().MarkSignalled(outsideATx(), "proj_1").DoAndReturn(func(context.Context, string) error {
		if len(f.tx.ends) == 0 || f.tx.ends[len(f.tx.ends)-1] != "commit" {
			return errors.New("called before the commit")
		}
		return nil
	})
}
