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

// suite is one database. Every test works on projects of its own.
type suite struct {
	*testing.T
	db   *database.DB
	repo *sqldb.Completions
}

func each(t *testing.T, test func(s suite)) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		t.Parallel()
		test(suite{t, db, sqldb.NewCompletions(db)})
	})
}

// add answers whether it was the first, and what then answered.
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

func TestTheFirstIsTold(t *testing.T) {
	each(t, func(s suite) {
		id := "proj_" + uuid.NewString()
		undone := errors.New("undone")
		first, err := s.add(id, func() error { return undone })
		require.ErrorIs(s, err, undone)
		require.True(s, first)
		for _, want := range []bool{true, false, false} {
			first, err = s.add(id, fine)
			require.NoError(s, err)
			require.Equal(s, want, first, "what was rolled back was never there")
		}
		first, err = s.add(id+"-other", fine)
		require.NoError(s, err)
		require.True(s, first)
	})
}

func TestTheTransactionStaysUsable(t *testing.T) {
	each(t, func(s suite) {
		id := uuid.NewString()
		_, err := s.add(id, fine)
		require.NoError(s, err)
		require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
			if first, err := s.repo.Add(ctx, id, "evt_1", now); err != nil || first {
				return errors.New("it is there already")
			}
			_, err := s.repo.Add(ctx, id+"-next", "evt_2", now)
			return err
		}))
	})
}

func TestOneOfManyAtOnceIsTheFirst(t *testing.T) {
	each(t, func(s suite) {
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
}

func TestAddNeedsATransaction(t *testing.T) {
	each(t, func(s suite) {
		_, err := s.repo.Add(context.Background(), "proj_1", "evt_1", now)
		require.ErrorIs(s, err, database.ErrNoTx)
	})
}

func TestPurge(t *testing.T) {
	each(t, func(s suite) {
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
