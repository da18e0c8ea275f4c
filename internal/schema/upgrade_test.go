package schema_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// connect returns one process' pool. The database is shared, unlike that of schematest.Each.
func connect(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(database.Options{Dialect: database.Postgres, DSN: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func exec(t *testing.T, db *database.DB, query string, args ...any) {
	t.Helper()
	_, err := db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(t, err)
}

func TestUp(t *testing.T) {
	t.Parallel()
	t.Run("runs once in two processes", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, migrateTwice)
	})

	// The lease is all that a process leaves that is killed while it migrates: its connection ends, and its step with it.
	t.Run("goes on when the lease of a killed process has ended", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			_, err := schema.Up(context.Background(), db)
			require.NoError(t, err)
			_, err = schema.Down(context.Background(), db)
			require.NoError(t, err)
			exec(t, db, "UPDATE goose_lock SET locked = true, locked_by = 'the dead', lease_expires_at = now() + interval '3 seconds'")
			began := time.Now()
			applied, err := schema.Up(context.Background(), db)
			require.NoError(t, err)
			require.Len(t, applied, 1)
			require.Greater(t, time.Since(began), 2*time.Second)
		})
	})

	t.Run("returns a refusal at once", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			began := time.Now()
			_, err := schema.Up(context.Background(), connect(t, url+"&default_transaction_read_only=on"))
			require.ErrorContains(t, err, "schema: migrating up: the database is read-only")
			require.Less(t, time.Since(began), 30*time.Second)
		})
	})

	t.Run("keeps the rows of the previous release", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, adopt)
	})

	t.Run("changes nothing when rows are in the way", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, refuse)
	})

	// Pods of the previous release write after the check: the migration stops all the same.
	t.Run("stops at a row that comes in the way meanwhile", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			exec(t, db, previousRelease)
			tx, up := upBehind(t, db, "INSERT INTO users (username) VALUES ('an@example.com')")
			require.NoError(t, tx.Commit())
			var refused *schema.ObstaclesError
			require.ErrorAs(t, <-up, &refused)
			require.Len(t, refused.Obstacles, 1)
			_, err := db.Conn(context.Background()).ExecContext(context.Background(), "INSERT INTO users (username) VALUES ('an@example.com')")
			require.True(t, db.Dialect().IsUniqueViolation(err), "the old constraint is still there: %v", err)
		})
	})

	// Whichever table such a transaction touches first, the migration waits.
	t.Run("deadlocks with no transaction of the previous release", func(t *testing.T) {
		t.Parallel()
		const subscribe = `INSERT INTO subscriptions (user_id, plan_id, status, starts_at) VALUES
		('019c1000-0000-7000-8000-000000000002', '019c1000-0000-7000-8000-000000000003', 'trialing', now())`
		const activate = "UPDATE users SET is_active = true WHERE id = '019c1000-0000-7000-8000-000000000002'"
		for name, statements := range map[string][2]string{
			"users first":         {activate, subscribe},
			"subscriptions first": {"SELECT FROM subscriptions", activate},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				schematest.OnPostgres(t, func(t *testing.T, url string) {
					db := connect(t, url)
					exec(t, db, previousRelease)
					tx, up := upBehind(t, db, statements[0])
					_, err := tx.ExecContext(context.Background(), statements[1])
					require.NoError(t, err)
					require.NoError(t, tx.Commit())
					require.NoError(t, <-up)
					require.NoError(t, schema.Current(context.Background(), db))
				})
			})
		}
	})

	t.Run("keeps nobody waiting while it waits for users, there or back", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			const step = "00013_code_requests.sql"
			db := connect(t, url)
			exec(t, db, previousRelease)
			_, err := schema.Up(t.Context(), db)
			require.NoError(t, err)
			downThrough(t, db, step)
			read := func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var n int
				require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&n))
			}
			tx, up := upBehind(t, db, "UPDATE users SET full_name = 'An'")
			read()
			require.NoError(t, tx.Commit())
			require.NoError(t, <-up)

			downThrough(t, db, "00014_limits.sql")
			tx, down := behind(t, db, "UPDATE users SET full_name = 'An'", func(ctx context.Context) error {
				name, err := schema.Down(ctx, db)
				require.Equal(t, step, name)
				return err
			})
			read()
			require.NoError(t, tx.Commit())
			require.NoError(t, <-down)
		})
	})

	// The everyday statements of such pods, with the columns they know.
	t.Run("lets pods of the previous release work on", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			exec(t, db, previousRelease)
			_, err := schema.Up(context.Background(), db)
			require.NoError(t, err)
			previousReleaseWorks(t, db, "binh@example.com")

			// Only a living user holds a name. That release never notices, because it checks before it writes.
			exec(t, db, "INSERT INTO users (username) VALUES ('binh@example.com')")
		})
	})
}

func migrateTwice(t *testing.T, url string) {
	type outcome struct {
		applied []string
		err     error
	}
	outcomes := make(chan outcome, 2)
	var ready sync.WaitGroup
	ready.Add(2)
	for range 2 {
		db := connect(t, url)
		go func() {
			ready.Done()
			ready.Wait()
			applied, err := schema.Up(context.Background(), db)
			outcomes <- outcome{applied, err}
		}()
	}
	one, two := <-outcomes, <-outcomes
	require.NoError(t, one.err)
	require.NoError(t, two.err)
	db := connect(t, url)
	require.NoError(t, schema.Current(context.Background(), db))
	status, err := schema.Status(context.Background(), db)
	require.NoError(t, err)
	require.Len(t, append(one.applied, two.applied...), len(status), "every step was taken by one of them")
}

// previousRelease creates the previous release's database, with rows as its schema permits them.
var previousRelease = schematest.PreviousRelease + `
	INSERT INTO users (id, username, full_name, password_hash, is_active, role_hash, created_at) VALUES
		('019c1000-0000-7000-8000-000000000001', 'An@Example.com', 'Nguyễn An', '$2a$10$abc', true, 'cm9sZQ==', '2025-03-01 08:00:00+00'),
		('019c1000-0000-7000-8000-000000000002', 'gone@example.com', NULL, NULL, false, NULL, '2025-03-02 08:00:00+00');
	UPDATE users SET deleted_at = '2025-04-01 08:00:00+00', updated_at = NULL WHERE username = 'gone@example.com';
	INSERT INTO users (id, username, full_name, created_at, updated_at) VALUES
		('019c1000-0000-7000-8000-000000000004', 'loose..name@example.com', '', NULL, NULL);
	INSERT INTO plans (id, name, code, max_usage, created_at, updated_at) VALUES
		('019c1000-0000-7000-8000-000000000003', 'Free', 'free', NULL, NULL, NULL);
	INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, ends_at, created_at, updated_at) VALUES
		('019c1000-0000-7000-8000-000000000005', '019c1000-0000-7000-8000-000000000001', '019c1000-0000-7000-8000-000000000003',
			'active', '2025-03-01 08:00:00+00', NULL, NULL, '2025-03-05 08:00:00+00'),
		('019c1000-0000-7000-8000-000000000006', '019c1000-0000-7000-8000-000000000001', '019c1000-0000-7000-8000-000000000003',
			'expired', '2024-03-01 08:00:00+00', '2025-03-01 08:00:00+00', NULL, NULL);`

func adopt(t *testing.T, url string) {
	ctx := context.Background()
	db := connect(t, url)
	exec(t, db, previousRelease)
	applied, err := schema.Up(ctx, db)
	require.NoError(t, err)
	require.NotEmpty(t, applied)
	require.NoError(t, schema.Current(ctx, db))

	var username, fullName, hash, role string
	var active bool
	var created time.Time
	require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, `
		SELECT username, full_name, password_hash, is_active, role_hash, created_at FROM users
		WHERE id = '019c1000-0000-7000-8000-000000000001'`).Scan(&username, &fullName, &hash, &active, &role, &created))
	require.Equal(t, []any{"An@Example.com", "Nguyễn An", "$2a$10$abc", true, "cm9sZQ=="}, []any{username, fullName, hash, active, role})
	require.True(t, created.Equal(time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC)))

	count := func(query string) (n int) {
		require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, query).Scan(&n))
		return n
	}
	require.Equal(t, 3, count("SELECT count(*) FROM users"))
	require.Equal(t, 2, count("SELECT count(*) FROM subscriptions WHERE version = 0"))

	_, err = db.Conn(ctx).ExecContext(ctx, "INSERT INTO users (username) VALUES ('an@example.COM')")
	require.True(t, db.Dialect().IsUniqueViolation(err), "an address is taken whatever its case: %v", err)
	exec(t, db, "INSERT INTO users (username) VALUES ('gone@example.com')") // a deleted user is no obstacle
	_, err = db.Conn(ctx).ExecContext(ctx, `INSERT INTO subscriptions (user_id, plan_id, status, starts_at) VALUES
		('019c1000-0000-7000-8000-000000000001', '019c1000-0000-7000-8000-000000000003', 'trialing', now())`)
	require.True(t, db.Dialect().IsUniqueViolation(err), "one living subscription per user: %v", err)
}
