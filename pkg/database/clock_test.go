package database_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// skewed is a local clock that is wrong by d.
func skewed(d time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(d) }
}

func TestClock(t *testing.T) {
	t.Parallel()
	t.Run("is the local one before the first sync", func(t *testing.T) {
		t.Parallel()
		local := time.Date(2026, 1, 31, 16, 30, 0, 123456789, time.FixedZone("ICT", 7*3600))
		clock := database.NewClock(open(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")}))
		clock.SetLocal(func() time.Time { return local })
		require.Equal(t, time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC), clock.Now(), "UTC, whole microseconds")
	})

	t.Run("is the local one on SQLite", func(t *testing.T) {
		t.Parallel()
		db := open(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
		for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
			clock := database.NewClock(db)
			clock.SetLocal(skewed(skew))
			require.NoError(t, clock.Sync(context.Background()))
			require.WithinDuration(t, time.Now().Add(skew), clock.Now(), time.Second)
			require.Zero(t, clock.Ahead())
		}
	})

	t.Run("can be moved on SQLite, for good", func(t *testing.T) {
		t.Parallel()
		clock := database.NewClock(open(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")}))
		clock.Advance(24 * time.Hour)
		clock.Advance(time.Hour)
		require.NoError(t, clock.Sync(context.Background()))
		require.WithinDuration(t, time.Now().Add(25*time.Hour), clock.Now(), time.Second)
	})

	t.Run("follows the server", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, followServer)
	})

	// A paused server replies when it goes on, and that reply must not move the clock.
	t.Run("keeps its offset when the server does not reply", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, no server replies
		require.NoError(t, err)
		t.Cleanup(func() { _ = silent.Close() })
		clock := database.NewClock(open(t, database.Options{
			Dialect: database.Postgres, DSN: "postgres://nobody@" + silent.Addr().String() + "/none?sslmode=disable",
		}))
		began := time.Now()
		require.ErrorContains(t, clock.Sync(context.Background()), "the server's clock")
		require.Less(t, time.Since(began), 5*time.Second)
		require.WithinDuration(t, time.Now(), clock.Now(), time.Second)
	})

	t.Run("stops with its context", func(t *testing.T) {
		t.Parallel()
		db := open(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- database.NewClock(db).Run(ctx) }()
		cancel()
		require.NoError(t, <-ended)
	})
}

func followServer(t *testing.T, url string) {
	db := open(t, database.Options{Dialect: database.Postgres, DSN: url})
	for _, skew := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		clock := database.NewClock(db)
		clock.SetLocal(skewed(skew))
		require.NoError(t, clock.Sync(context.Background()))
		server := func() (now time.Time) {
			require.NoError(t, db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&now))
			return now
		}
		require.WithinDuration(t, server(), clock.Now(), time.Second)
		require.Equal(t, time.UTC, clock.Now().Location())
		require.InDelta(t, skew, clock.Ahead(), float64(time.Second))

		clock.SetLocal(skewed(skew + time.Hour)) // the machine's clock is corrected
		require.WithinDuration(t, server().Add(time.Hour), clock.Now(), time.Second)
		require.NoError(t, clock.Sync(context.Background()))
		require.WithinDuration(t, server(), clock.Now(), time.Second)
	}
}
