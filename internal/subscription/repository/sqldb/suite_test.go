package sqldb_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

var now = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

// suite is one database with a plan.
type suite struct {
	t     *testing.T
	db    *database.DB
	repo  *sqldb.Subscriptions
	plans *sqldb.Plans
	plan  subscription.Plan
}

// each runs test as a subtest on every engine.
func each(t *testing.T, name string, test func(s suite)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			t.Parallel()
			s := suite{t: t, db: db, repo: sqldb.NewSubscriptions(db), plans: sqldb.NewPlans(db)}
			var err error
			s.plan, err = s.plans.Ensure(context.Background(), plan())
			require.NoError(t, err)
			test(s)
		})
	})
}

// onPostgres is each for rows that SQLite's tables cannot hold: only PostgreSQL's may be the previous release's.
func onPostgres(t *testing.T, name string, test func(s suite)) {
	each(t, name, func(s suite) {
		if s.db.Dialect() == database.Postgres {
			test(s)
		}
	})
}

func plan() subscription.Plan {
	return subscription.Plan{ID: newID(), Name: "Free", Code: subscription.FreePlanCode, CreatedAt: now, UpdatedAt: now}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// tx runs fn in a transaction. A method that ignores the transaction hangs on SQLite.
func (s suite) tx(fn func(ctx context.Context) error) error {
	return s.db.WithinTx(context.Background(), fn)
}

func (s suite) exec(query string, args ...any) {
	_, err := s.db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(s.t, err)
}

func (s suite) user() string {
	id := newID()
	s.exec("INSERT INTO users (id, username, created_at, updated_at) VALUES ($1, $2, $3, $3)", id, id+"@example.com", now)
	return id
}

func (s suite) create(sub subscription.Subscription) subscription.Subscription {
	require.NoError(s.t, s.tx(func(ctx context.Context) error { return s.repo.Create(ctx, sub) }))
	return sub
}

func (s suite) trial(userID string) subscription.Subscription {
	return subscription.NewTrial(newID(), userID, s.plan, now)
}

func (s suite) byID(id string) (sub subscription.Subscription, err error) {
	err = s.tx(func(ctx context.Context) (err error) {
		sub, err = s.repo.ByID(ctx, id)
		return err
	})
	return sub, err
}

func (s suite) latestOf(id string) (latest []subscription.Subscription) {
	require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
		latest, err = s.repo.LatestOf(ctx, id)
		return err
	}))
	return latest
}

// together calls fn n times at once and returns the errors.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}
