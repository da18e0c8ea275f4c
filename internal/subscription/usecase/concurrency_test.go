package usecase_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

// committed records events when their transaction commits, as the outbox does.
type committed struct {
	eventtest.Recorder
	db *database.DB
}

func (c *committed) Publish(ctx context.Context, events ...event.Event) error {
	if _, err := c.db.Tx(ctx); err != nil {
		return err
	}
	c.db.AfterCommit(ctx, func() { _ = c.Recorder.Publish(ctx, events...) })
	return nil
}

// twice calls fn twice at once and returns both errors.
func twice(fn func() error) []error {
	errs := make([]error, 2)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			<-start
			errs[i] = fn()
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// everyone has an account.
type everyone struct{}

func (everyone) Exists(context.Context, string) (bool, error) { return true, nil }

func TestLifecycleOnSQL(t *testing.T) {
	t.Parallel()
	t.Run("two concurrent calls have one effect", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			t.Parallel()
			ctx := context.Background()
			for range 10 {
				events := &committed{db: db}
				l := usecase.NewLifecycle(usecase.LifecycleDeps{
					Audit:         &audittest.Recorder{},
					PastDueGrace:  grace,
					Tx:            db,
					Clock:         database.NewClock(db),
					Subscriptions: sqldb.NewSubscriptions(db),
					Plans:         sqldb.NewPlans(db),
					Trials:        sqldb.NewTrials(db),
					TrialKey:      trialKey,
					Users:         everyone{},
					Events:        events,
				})
				userID := uuid.NewString()
				_, err := db.Conn(ctx).ExecContext(ctx,
					"INSERT INTO users (id, username, created_at, updated_at) VALUES ($1, $2, $3, $3)", userID, userID+"@example.com", now)
				require.NoError(t, err)

				for _, err := range twice(func() error { return l.StartTrial(ctx, userID, userID+"@example.com") }) {
					require.NoError(t, err)
				}
				require.Len(t, events.Events(), 1, "two calls start one trial")
				s, _, err := l.Current(ctx, userID)
				require.NoError(t, err)
				require.Equal(t, events.Events()[0].Data.(event.SubscriptionCreatedData).Version, s.Version)

				errs := twice(func() error {
					_, err := l.Cancel(ctx, subscription.Actor{UserID: userID}, s.ID, "")
					return err
				})
				if errs[0] == nil {
					errs[0], errs[1] = errs[1], errs[0]
				}
				require.ErrorIs(t, errs[0], subscription.ErrCannotCancel)
				require.NoError(t, errs[1])
				require.Len(t, events.Events(), 2, "two calls publish one cancellation")
				require.Greater(t, events.Events()[1].Data.(event.SubscriptionCancelledData).Version, s.Version)
				s, _, err = l.Current(ctx, userID)
				require.NoError(t, err, "a cancelled one entitles until its end")
				require.Equal(t, subscription.StatusCancelled, s.Status)
			}
		})
	})
}

// One person, who has deleted their account and registered again: verifications of both accounts at once start one
// trial, and one that is rolled back starts none.
func TestOneTrialPerPerson(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		t.Parallel()
		ctx := context.Background()
		trials := sqldb.NewTrials(db)
		events := &committed{db: db}
		l := usecase.NewLifecycle(usecase.LifecycleDeps{
			Audit:         &audittest.Recorder{},
			PastDueGrace:  grace,
			Tx:            db,
			Clock:         database.NewClock(db),
			Subscriptions: sqldb.NewSubscriptions(db),
			Plans:         sqldb.NewPlans(db),
			Trials:        trials,
			TrialKey:      trialKey,
			Events:        events,
		})
		addUser := func(address string, deletedAt *time.Time) string {
			t.Helper()
			id := uuid.NewString()
			_, err := db.Exec(ctx, "adding a user", `INSERT INTO users (id, username, created_at, updated_at, deleted_at)
				VALUES ($1, $2, $3, $3, $4)`, id, address, now, deletedAt)
			require.NoError(t, err)
			return id
		}
		for range 10 {
			before := len(events.Events())
			addresses := []string{uuid.NewString() + "@example.com"}
			addresses = append(addresses, strings.ToUpper(addresses[0]))
			deletedAt := now
			ids := []string{addUser(addresses[0], &deletedAt), addUser(addresses[1], nil)}
			undone := errors.New("undone")
			require.ErrorIs(t, db.WithinTx(ctx, func(ctx context.Context) error {
				require.NoError(t, l.StartTrial(ctx, ids[0], addresses[0]))
				return undone
			}), undone)
			require.Len(t, events.Events(), before, "what was rolled back counts for nothing")

			var next atomic.Int32
			for _, err := range twice(func() error {
				i := next.Add(1) - 1
				return l.StartTrial(ctx, ids[i], addresses[i])
			}) {
				require.NoError(t, err)
			}
			require.Len(t, events.Events(), before+1)
		}
	})
}
