package database_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// each runs test on an empty database of every engine with one table, things.
func each(t *testing.T, o database.Options, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		lite := o
		lite.Dialect, lite.DSN = database.SQLite, filepath.Join(t.TempDir(), "test.db")
		test(t, prepare(t, lite))
	})
	schematest.OnPostgres(t, func(t *testing.T, url string) {
		t.Parallel()
		server := o
		server.Dialect, server.DSN = database.Postgres, url
		test(t, prepare(t, server))
	})
}

func prepare(t *testing.T, o database.Options) *database.DB {
	t.Helper()
	db := open(t, o)
	timestamp := map[database.Dialect]string{database.SQLite: "timestamp", database.Postgres: "timestamptz"}[o.Dialect]
	exec(t, db, fmt.Sprintf("CREATE TABLE things (name text PRIMARY KEY, place int UNIQUE, at %s)", timestamp))
	return db
}

func open(t *testing.T, o database.Options) *database.DB {
	t.Helper()
	db, err := database.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func exec(t *testing.T, db *database.DB, query string, args ...any) {
	t.Helper()
	_, err := db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(t, err)
}

// insert writes by way of ctx's transaction, as a repository does.
func insert(ctx context.Context, db *database.DB, name string) error {
	_, err := db.Conn(ctx).ExecContext(ctx, "INSERT INTO things (name) VALUES ($1)", name)
	return err
}

// names returns what is committed, in order.
func names(t *testing.T, db *database.DB) []string {
	t.Helper()
	rows, err := db.Conn(context.Background()).QueryContext(context.Background(), "SELECT name FROM things ORDER BY name")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	found := []string{}
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		found = append(found, name)
	}
	require.NoError(t, rows.Err())
	return found
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("makes a pool that Ping connects", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			require.NoError(t, db.Ping(context.Background()))
		})
		nobody := open(t, database.Options{Dialect: database.Postgres, DSN: "postgres://nobody@127.0.0.1:1/none?sslmode=disable"})
		require.Error(t, nobody.Ping(context.Background()))
	})

	t.Run("creates the SQLite file at its path", func(t *testing.T) {
		t.Parallel()
		folder := filepath.Join(t.TempDir(), "50% #1 a?b=c")
		require.NoError(t, os.Mkdir(folder, 0o700))
		path := filepath.Join(folder, "identity.db")
		db := prepare(t, database.Options{Dialect: database.SQLite, DSN: path})
		require.NoError(t, db.Ping(context.Background()))
		require.FileExists(t, path)
	})

	t.Run("sets SQLite's pragmas", func(t *testing.T) {
		t.Parallel()
		db := prepare(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
		for pragma, want := range map[string]string{"foreign_keys": "1", "journal_mode": "wal", "busy_timeout": "5000"} {
			var got string
			require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
	})

	// SQLite stores times as text: what is compared there is the text, so that "…05" has to come before "…05.1".
	t.Run("stores times that round-trip and compare", func(t *testing.T) {
		t.Parallel()
		whole := time.Date(2026, 1, 31, 9, 30, 5, 0, time.UTC)
		rising := []time.Time{
			whole.Add(-time.Microsecond), whole, whole.Add(time.Microsecond), whole.Add(10 * time.Microsecond),
			whole.Add(99 * time.Millisecond), whole.Add(100 * time.Millisecond), whole.Add(100*time.Millisecond + time.Microsecond),
			whole.Add(120 * time.Millisecond), whole.Add(999999 * time.Microsecond), whole.Add(time.Second),
			whole.Add(time.Hour), whole.AddDate(0, 1, 0),
		}
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			ctx := context.Background()
			for i := range rising { // the newest first, so that the order of insertion does not help
				at := rising[len(rising)-1-i]
				exec(t, db, "INSERT INTO things (name, at) VALUES ($1, $2)", at.Format(time.RFC3339Nano), at)
			}
			for i, at := range rising {
				var stored time.Time
				var before, notAfter int
				require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, "SELECT at FROM things WHERE at = $1", at).Scan(&stored))
				require.True(t, at.Equal(stored), "%s came back as %s", at, stored)
				require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM things WHERE at < $1", at).Scan(&before))
				require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM things WHERE at <= $1", at).Scan(&notAfter))
				require.Equal(t, i, before, at.String())
				require.Equal(t, i+1, notAfter, at.String())
			}
		})
	})

	// SQLite's own date functions read what is stored, and so does the sqlite3 shell.
	t.Run("stores times that SQLite understands", func(t *testing.T) {
		t.Parallel()
		db := prepare(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
		exec(t, db, "INSERT INTO things (name, at) VALUES ('a', $1)", time.Date(2026, 1, 31, 9, 30, 5, 120000000, time.UTC))
		var text, minute string
		require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(),
			"SELECT CAST(at AS text), strftime('%H:%M', at) FROM things").Scan(&text, &minute))
		require.Equal(t, "2026-01-31 09:30:05.12+00:00", text)
		require.Equal(t, "09:30", minute)
	})
}

func TestIsNotFound(t *testing.T) {
	t.Parallel()
	each(t, database.Options{}, func(t *testing.T, db *database.DB) {
		var name string
		err := db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT name FROM things").Scan(&name)
		require.True(t, database.IsNotFound(fmt.Errorf("reading: %w", err)))
		err = db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT name FROM nothing").Scan(&name)
		require.Error(t, err)
		require.False(t, database.IsNotFound(err))
	})
}

func TestDialect(t *testing.T) {
	t.Parallel()
	t.Run("recognises a unique violation", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			ctx := context.Background()
			exec(t, db, "INSERT INTO things (name, place) VALUES ('a', 1)")
			for what, test := range map[string]struct {
				query string
				want  bool
			}{
				"primary key":    {"INSERT INTO things (name, place) VALUES ('a', 2)", true},
				"unique column":  {"INSERT INTO things (name, place) VALUES ('b', 1)", true},
				"another breach": {"INSERT INTO things (name, place) SELECT NULL, 1 FROM nothing", false},
			} {
				_, err := db.Conn(ctx).ExecContext(ctx, test.query)
				require.Error(t, err, what)
				require.Equal(t, test.want, db.Dialect().IsUniqueViolation(fmt.Errorf("inserting: %w", err)), what)
			}
			exec(t, db, "CREATE TABLE strict (name text NOT NULL)")
			_, err := db.Conn(ctx).ExecContext(ctx, "INSERT INTO strict (name) VALUES (NULL)")
			require.Error(t, err)
			require.False(t, db.Dialect().IsUniqueViolation(err), "not every constraint is a unique one")
			require.False(t, db.Dialect().IsUniqueViolation(nil))
		})
	})

	t.Run("has the locking clauses of its engine", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			exec(t, db, "INSERT INTO things (name) VALUES ('a')")
			for _, clause := range []string{db.Dialect().ForUpdate(), db.Dialect().ForUpdateSkipLocked()} {
				var name string
				require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
					return db.Conn(ctx).QueryRowContext(ctx, "SELECT name FROM things WHERE name = $1"+clause, "a").Scan(&name)
				}))
				require.Equal(t, "a", name)
			}
		})
	})
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	require.Empty(t, database.Placeholders(1, 0))
	require.Equal(t, "$1", database.Placeholders(1, 1))
	require.Equal(t, "$3, $4, $5", database.Placeholders(3, 3))
	each(t, database.Options{}, func(t *testing.T, db *database.DB) {
		args := make([]any, 1000)
		for i := range args {
			args[i] = i
		}
		var count int
		require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(),
			"SELECT count(*) FROM things WHERE place IN ("+database.Placeholders(1, len(args))+")", args...).Scan(&count))
		require.Zero(t, count)
	})
}
