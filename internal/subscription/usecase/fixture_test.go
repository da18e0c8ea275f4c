package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/mock"
	"github.com/smap-platform/identity/internal/subscription/usecase"
)

var (
	now     = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	errDown = errors.New("the database is down")
	free    = subscription.Plan{ID: "plan-1", Name: "Free", Code: subscription.FreePlanCode}
)

const email = "An@example.com"

var trialKey = subscription.TrialKey("0123456789abcdef0123456789abcdef")

const grace = 14 * subscription.Day

type clock struct{}

func (clock) Now() time.Time { return now }

type inTx struct{}

// transactor marks the context and records the end of each transaction.
type transactor struct{ ends []string }

func (tr *transactor) WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error {
	if ctx.Value(inTx{}) != nil {
		return fn(ctx) // joined: the outer transaction ends
	}
	err := fn(context.WithValue(ctx, inTx{}, true))
	if err != nil {
		tr.ends = append(tr.ends, "rollback")
		return err
	}
	tr.ends = append(tr.ends, "commit")
	return nil
}

// inATx matches the context of a transaction.
func inATx() gomock.Matcher { return txMatcher{} }

type txMatcher struct{}

func (txMatcher) Matches(x any) bool {
	ctx, ok := x.(context.Context)
	return ok && ctx.Value(inTx{}) != nil
}
func (txMatcher) String() string { return "a context in a transaction" }

// publisher refuses events outside a transaction, as the outbox does.
type publisher struct{ eventtest.Recorder }

func (p *publisher) Publish(ctx context.Context, events ...event.Event) error {
	if ctx.Value(inTx{}) == nil {
		return errors.New("there is no transaction")
	}
	return p.Recorder.Publish(ctx, events...)
}

type fixture struct {
	*usecase.Lifecycle
	tx     *transactor
	repo   *mock.MockRepository
	plans  *mock.MockPlanRepository
	trials *mock.MockTrialRepository
	users  *mock.MockUsers
	events *publisher
	audit  *audittest.Recorder
}

func newFixture(t *testing.T) fixture {
	ctrl := gomock.NewController(t)
	f := fixture{
		tx:     &transactor{},
		repo:   mock.NewMockRepository(ctrl),
		plans:  mock.NewMockPlanRepository(ctrl),
		trials: mock.NewMockTrialRepository(ctrl),
		users:  mock.NewMockUsers(ctrl),
		events: &publisher{},
		audit:  &audittest.Recorder{},
	}
	f.Lifecycle = usecase.NewLifecycle(usecase.LifecycleDeps{
		PastDueGrace:  grace,
		Tx:            f.tx,
		Clock:         clock{},
		Subscriptions: f.repo,
		Plans:         f.plans,
		Trials:        f.trials,
		TrialKey:      trialKey,
		Users:         f.users,
		Events:        f.events,
		Audit:         f.audit,
	})
	return f
}

// neverTried expects the calls whose results allow a trial.
func (f fixture) neverTried() []*gomock.Call {
	return []*gomock.Call{
		f.trials.EXPECT().Record(inATx(), trialKey.Digest(email)).Return(true, nil),
		f.trials.EXPECT().HadSubscription(inATx(), email).Return(false, nil),
	}
}

func (f fixture) requireNoEvent(t *testing.T, end string) {
	t.Helper()
	require.Equal(t, []string{end}, f.tx.ends)
	require.Empty(t, f.events.Events())
}

func trial() subscription.Subscription {
	s := subscription.NewTrial("sub-1", "user-1", free, now.Add(-time.Hour))
	s.Version = 1
	return s
}

// locks expects a use case to lock the user and to read what they hold. It returns the call that reads.
func (f fixture) locks(held ...subscription.Subscription) *gomock.Call {
	lock := f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil)
	return f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(held, nil).After(lock)
}
