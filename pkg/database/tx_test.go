package database_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var errRefused = errors.New("refused")

func TestWithinTx(t *testing.T) {
	t.Parallel()
	t.Run("commits", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				return insert(ctx, db, "b")
			}))
			require.Equal(t, []string{"a", "b"}, names(t, db))
		})
	})

	t.Run("rolls back on an error", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			err := db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				return errRefused
			})
			require.Equal(t, errRefused, err, "the function's error comes back as it is")
			require.Empty(t, names(t, db))
		})
	})

	t.Run("joins a transaction when nested", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			for _, outcome := range []error{nil, errRefused} {
				err := db.WithinTx(context.Background(), func(ctx context.Context) error {
					require.NoError(t, insert(ctx, db, "outer"))
					require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error { return insert(ctx, db, "inner") }))
					require.NoError(t, insert(ctx, db, "still open"))
					return outcome
				})
				require.Equal(t, outcome, err)
				if outcome == nil {
					require.Equal(t, []string{"inner", "outer", "still open"}, names(t, db))
					exec(t, db, "DELETE FROM things")
				}
			}
			require.Empty(t, names(t, db), "what was joined is rolled back with the rest")
		})
	})

	t.Run("joins no transaction of another database", func(t *testing.T) {
		t.Parallel()
		one := prepare(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "one.db")})
		two := prepare(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "two.db")})
		require.ErrorIs(t, one.WithinTx(context.Background(), func(ctx context.Context) error {
			_, err := two.Tx(ctx)
			require.ErrorIs(t, err, database.ErrNoTx)
			require.NoError(t, insert(ctx, two, "a"))
			return errRefused
		}), errRefused)
		require.Equal(t, []string{"a"}, names(t, two))
	})

	t.Run("lets WithTxTimeout extend the deadline", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{TxTimeout: time.Second}, func(t *testing.T, db *database.DB) {
			patient := db.WithTxTimeout(time.Minute)
			require.NoError(t, patient.WithinTx(context.Background(), func(ctx context.Context) error {
				deadline, _ := ctx.Deadline()
				require.Greater(t, time.Until(deadline), 30*time.Second)
				require.NoError(t, insert(ctx, db, "a"), "a repository on the other value joins")
				_, err := db.Tx(ctx)
				require.NoError(t, err)
				return db.WithinTx(ctx, func(ctx context.Context) error { return insert(ctx, patient, "b") })
			}))
			require.Equal(t, []string{"a", "b"}, names(t, db))
			require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				<-ctx.Done()
				return insert(ctx, db, "c")
			}), context.DeadlineExceeded, "the others keep their limit")
		})
	})

	t.Run("rolls back on a panic", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{TxTimeout: 2 * time.Second}, func(t *testing.T, db *database.DB) {
			require.PanicsWithValue(t, "oops", func() {
				_ = db.WithinTx(context.Background(), func(ctx context.Context) error {
					require.NoError(t, insert(ctx, db, "a"))
					panic("oops")
				})
			})
			require.Empty(t, names(t, db), "and the connection is back in the pool")
		})
	})

	t.Run("returns the commit's error", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{TxTimeout: 2 * time.Second}, func(t *testing.T, db *database.DB) {
			exec(t, db, "CREATE TABLE parts (thing text REFERENCES things (name) DEFERRABLE INITIALLY DEFERRED)")
			called := false
			err := db.WithinTx(context.Background(), func(ctx context.Context) error {
				db.AfterCommit(ctx, func() { called = true })
				_, err := db.Conn(ctx).ExecContext(ctx, "INSERT INTO parts (thing) VALUES ('missing')")
				require.NoError(t, err, "this constraint is checked at the commit")
				return insert(ctx, db, "a")
			})
			require.ErrorContains(t, err, "database: commit")
			require.False(t, called)
			require.Empty(t, names(t, db))
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error { return insert(ctx, db, "b") }),
				"the connection is usable again")
		})
	})

	// PostgreSQL replies to the COMMIT of an aborted transaction with "ROLLBACK" and no error: it must not look like
	// success.
	t.Run("does not commit half after a swallowed error", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			err := db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				require.Error(t, insert(ctx, db, "a"))
				return nil
			})
			if db.Dialect() == database.SQLite { // which undoes only the statement
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, names(t, db))
				return
			}
			require.ErrorContains(t, err, "database: commit")
			require.Empty(t, names(t, db))
		})
	})

	t.Run("rolls back when cancelled in the function", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{TxTimeout: 2 * time.Second}, func(t *testing.T, db *database.DB) {
			caller, hangUp := context.WithCancel(context.Background())
			err := db.WithinTx(caller, func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				hangUp()
				return insert(ctx, db, "b")
			})
			require.ErrorIs(t, err, context.Canceled, "statements see the cancellation")
			require.Empty(t, names(t, db), "and the rollback does not")
		})
	})

	// The function is done and the commit is next: a cancellation now must not leave the outcome unknown.
	t.Run("commits when cancelled after the function", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			caller, hangUp := context.WithCancel(context.Background())
			require.NoError(t, db.WithinTx(caller, func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				hangUp()
				<-ctx.Done()
				return nil
			}))
			require.Equal(t, []string{"a"}, names(t, db))
		})
	})

	// PostgreSQL runs a deferred trigger in the commit, which waits for a lock. SQLite commits in one call into this
	// process.
	t.Run("commits when cancelled during the commit", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, hangUpDuringTheCommit)
	})

	t.Run("stops waiting for a connection when cancelled", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{MaxConns: 1, TxTimeout: time.Minute}, func(t *testing.T, db *database.DB) {
			require.NoError(t, db.WithinTx(context.Background(), func(context.Context) error {
				ran := func(context.Context) error { return errors.New("there was no connection for this") }

				caller, hangUp := context.WithCancel(context.Background())
				waiting := make(chan error, 1)
				go func() { waiting <- db.WithinTx(caller, ran) }()
				hangUp()
				require.ErrorIs(t, <-waiting, context.Canceled)

				caller, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				require.ErrorIs(t, db.WithinTx(caller, ran), context.DeadlineExceeded)
				return nil
			}))
			require.NoError(t, db.Ping(context.Background()), "no connection is leaked")
		})
	})

	t.Run("has a deadline", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{TxTimeout: 100 * time.Millisecond}, func(t *testing.T, db *database.DB) {
			require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, insert(ctx, db, "a"))
				<-ctx.Done()
				return insert(ctx, db, "b")
			}), context.DeadlineExceeded)

			err := db.WithinTx(context.Background(), func(ctx context.Context) error {
				tx, err := db.Tx(ctx)
				require.NoError(t, err)
				require.Eventually(t, func() bool { // the deadline has ended it, as the next statement shows
					_, err := tx.ExecContext(context.Background(), "SELECT 1")
					return err != nil
				}, 5*time.Second, time.Millisecond)
				return nil
			})
			require.ErrorContains(t, err, "database: commit", "too late is not committed")
			require.Empty(t, names(t, db))
		})
	})

	// The transaction holds SQLite's only connection, so a statement that bypasses it waits for itself.
	t.Run("makes a statement that bypasses it fail on SQLite", func(t *testing.T) {
		t.Parallel()
		for name, around := range map[string]func(ctx context.Context) context.Context{
			"with the transaction's deadline": func(ctx context.Context) context.Context { return ctx },
			"with no deadline at all":         func(context.Context) context.Context { return context.Background() },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				db := prepare(t, database.Options{
					Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db"), TxTimeout: 200 * time.Millisecond,
				})
				err := db.WithinTx(context.Background(), func(ctx context.Context) error {
					if _, err := db.Pool().ExecContext(around(ctx), "INSERT INTO things (name) VALUES ('a')"); err != nil {
						return fmt.Errorf("around: %w", err)
					}
					return nil
				})
				require.Error(t, err)
			})
		}
	})
}

func hangUpDuringTheCommit(t *testing.T, url string) {
	db := prepare(t, database.Options{Dialect: database.Postgres, DSN: url})
	exec(t, db, `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'`)
	exec(t, db, `CREATE CONSTRAINT TRIGGER lingering AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION linger()`)
	caller, hangUp := context.WithCancel(context.Background())
	done := make(chan error, 1)
	require.NoError(t, db.WithinTx(context.Background(), func(blocker context.Context) error {
		_, err := db.Conn(blocker).ExecContext(blocker, "SELECT pg_advisory_xact_lock(7)")
		require.NoError(t, err)
		go func() {
			done <- db.WithinTx(caller, func(ctx context.Context) error { return insert(ctx, db, "a") })
		}()
		require.Eventually(t, func() bool { // only the server knows that the commit has begun
			var waiting int
			err := db.Conn(blocker).QueryRowContext(blocker, `SELECT count(*) FROM pg_locks
				WHERE locktype = 'advisory' AND objid = 7 AND NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
			return err == nil && waiting == 1
		}, 4*time.Second, 10*time.Millisecond)
		hangUp()
		return nil
	}))
	require.NoError(t, <-done)
	require.Equal(t, []string{"a"}, names(t, db))
}

func TestAfterCommit(t *testing.T) {
	t.Parallel()
	each(t, database.Options{TxTimeout: 2 * time.Second}, func(t *testing.T, db *database.DB) {
		var calls []string
		call := func(name string) func() {
			return func() {
				require.Contains(t, names(t, db), "a", "the write is visible to every connection, and this one is free")
				calls = append(calls, name)
			}
		}
		require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
			db.AfterCommit(ctx, call("first"))
			require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error {
				db.AfterCommit(ctx, call("second"))
				return insert(ctx, db, "a")
			}))
			db.AfterCommit(ctx, call("third"))
			require.Empty(t, calls, "not before the outermost commit")
			return nil
		}))
		require.Equal(t, []string{"first", "second", "third"}, calls)

		calls = nil
		require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
			db.AfterCommit(ctx, call("never"))
			return errRefused
		}), errRefused)
		require.Empty(t, calls)

		db.AfterCommit(context.Background(), call("at once"))
		require.Equal(t, []string{"at once"}, calls)
	})
}

func TestTx(t *testing.T) {
	t.Parallel()
	each(t, database.Options{}, func(t *testing.T, db *database.DB) {
		_, err := db.Tx(context.Background())
		require.ErrorIs(t, err, database.ErrNoTx)
		require.ErrorContains(t, err, "WithinTx", "it says what to do")
		require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
			tx, err := db.Tx(ctx)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO things (name) VALUES ('a')")
			return err
		}))
		require.Equal(t, []string{"a"}, names(t, db))
	})
}
