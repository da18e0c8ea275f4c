package database_test

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/test/harness"
)

// behindProxy returns a pool of size connections, all of which are open and idle.
func behindProxy(t *testing.T, dsn string, size int) (*database.DB, *harness.Proxy) {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	p := harness.NewProxy(t, u.Host)
	u.Host = "127.0.0.1:" + p.Port()
	db := open(t, database.Options{Dialect: database.Postgres, DSN: u.String(), MaxConns: size})
	var inUse, all sync.WaitGroup
	inUse.Add(size)
	for range size {
		all.Go(func() {
			_ = db.WithinTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Exec(ctx, "opening", "SELECT 1")
				inUse.Done()
				inUse.Wait() // each holds a connection until all do
				return err
			})
		})
	}
	all.Wait()
	require.Equal(t, size, p.Connections())
	return db, p
}

func TestDeadPath(t *testing.T) {
	t.Parallel()
	t.Run("costs one caller a second, whatever the size of the pool", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			const size = 10
			db, p := behindProxy(t, dsn, size)
			idle := time.Now()
			require.Eventually(t, func() bool { return time.Since(idle) > 150*time.Millisecond }, time.Minute, time.Millisecond,
				"a connection in constant use is not checked")
			p.Freeze()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			began := time.Now()
			for range 2 * size {
				require.NoError(t, db.Ping(ctx))
				require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error { return db.Ping(ctx) }))
			}
			require.Less(t, time.Since(began), 5*time.Second)
			require.Greater(t, p.Connections(), size)
		})
	})

	t.Run("that is found by a statement leaves the others their deadline", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db, p := behindProxy(t, dsn, 5)
			short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err := db.WithinTx(short, func(ctx context.Context) error {
				p.Freeze()
				_, err := db.Exec(ctx, "reading", "SELECT 1")
				return err
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
			began := time.Now()
			for range 10 {
				require.NoError(t, db.Ping(t.Context()))
			}
			require.Less(t, time.Since(began), 5*time.Second)
		})
	})

	t.Run("ends a statement whose context has no deadline", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db := open(t, database.Options{Dialect: database.Postgres, DSN: dsn, StatementTimeout: 200 * time.Millisecond})
			_, err := db.Exec(t.Context(), "waiting", "SELECT pg_sleep(60)")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = database.All(t.Context(), db, "waiting", database.Text, "SELECT pg_sleep(60)::text")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, db.WithinTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Exec(ctx, "waiting", "SELECT pg_sleep(0.4)")
				return err
			}), "a transaction has its own")
			db = open(t, database.Options{Dialect: database.Postgres, DSN: dsn, StatementTimeout: time.Minute})
			names, err := database.All(t.Context(), db, "reading", database.Text, "SELECT generate_series(1, 1000)::text")
			require.NoError(t, err)
			require.Len(t, names, 1000)
		})
	})

	t.Run("of a server that never replies ends within the time to connect", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, no server replies
		require.NoError(t, err)
		t.Cleanup(func() { _ = silent.Close() })
		db := open(t, database.Options{
			Dialect: database.Postgres, DSN: "postgres://nobody@" + silent.Addr().String() + "/none?sslmode=disable",
		})
		began := time.Now()
		err = db.Ping(t.Context())
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
		require.Equal(t, "does not respond in time", database.Reason(err))
		require.Less(t, time.Since(began), 10*time.Second)
	})
}
