package sqldb_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var now = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

// suite is one database. Every test has projects of its own.
type suite struct {
	*testing.T
	db   *database.DB
	repo *sqldb.Completions
}

// each runs test as a subtest on every engine.
func each(t *testing.T, name string, test func(s suite)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			t.Parallel()
			test(suite{t, db, sqldb.NewCompletions(db)})
		})
	})
}

// add adds a completion and calls then in one transaction.
func (s suite) add(id string, then func() error) (first bool, err error) {
	err = s.db.WithinTx(context.Background(), func(ctx context.Context) (err error) {
		if first, err = s.repo.Add(ctx, id, "evt_1", now); err != nil {
			return err
		}
		return then()
	})
	return first, err
}

func fine() error { return nil }

func TestCompletions(t *testing.T) {
	t.Parallel()
	each(t, "reports the first completion of a project", func(s suite) {
		id := "proj_" + uuid.NewString()
		undone := errors.New("undone")
		first, err := s.add(id, func() error { return undone })
		require.ErrorIs(s, err, undone)
		require.True(s, first)
		for _, want := range []bool{true, false, false} {
			first, err = s.add(id, fine)
			require.NoError(s, err)
			require.Equal(s, want, first, "a rollback leaves nothing")
		}
		first, err = s.add(id+"-other", fine)
		require.NoError(s, err)
		require.True(s, first)
	})
	each(t, "leaves the transaction usable", func(s suite) {
		id := uuid.NewString()
		_, err := s.add(id, fine)
		require.NoError(s, err)
		require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
			if first, err := s.repo.Add(ctx, id, "evt_1", now); err != nil || first {
				return errors.New("the completion was added twice")
			}
			_, err := s.repo.Add(ctx, id+"-next", "evt_2", now)
			return err
		}))
	})
	each(t, "reports one of many concurrent completions as the first", func(s suite) {
		const n = 16
		id, start := uuid.NewString(), make(chan struct{})
		firsts, errs := make([]bool, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				<-start
				firsts[i], errs[i] = s.add(id, fine)
			})
		}
		close(start)
		wg.Wait()
		require.NoError(s, errors.Join(errs...))
		count := 0
		for _, first := range firsts {
			if first {
				count++
			}
		}
		require.Equal(s, 1, count)
	})
	each(t, "adds only in a transaction", func(s suite) {
		_, err := s.repo.Add(context.Background(), "proj_1", "evt_1", now)
		require.ErrorIs(s, err, database.ErrNoTx)
	})
	each(t, "purges old completions", func(s suite) {
		id := uuid.NewString()
		_, err := s.add(id, fine)
		require.NoError(s, err)
		n, err := s.repo.PurgeOlderThan(context.Background(), now)
		require.NoError(s, err)
		require.Zero(s, n)
		first, err := s.add(id, fine)
		require.NoError(s, err)
		require.False(s, first)

		n, err = s.repo.PurgeOlderThan(context.Background(), now.Add(time.Microsecond))
		require.NoError(s, err)
		require.EqualValues(s, 1, n)
		first, err = s.add(id, fine)
		require.NoError(s, err)
		require.True(s, first)
	})
}
