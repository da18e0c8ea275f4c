package database_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var thingsNeeded = []database.Need{{Table: "things", Rights: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}}}

// setForNew sets a parameter of the database for connections that are opened from now on.
func setForNew(t *testing.T, db *database.DB, parameter string) {
	t.Helper()
	exec(t, db, fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s', current_database()); END $$`, parameter))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()

	t.Run("of a read-only server are unavailability, named, and end with the connection", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			admin := prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn})
			setForNew(t, admin, "default_transaction_read_only = on")
			db := open(t, database.Options{Dialect: database.Postgres, DSN: dsn, MaxConns: 1})
			require.NoError(t, db.Ping(ctx))
			for _, write := range []func(context.Context) error{
				func(ctx context.Context) error { return insert(ctx, db, "a") },
				func(ctx context.Context) error {
					return db.WithinTx(ctx, func(ctx context.Context) error { return insert(ctx, db, "a") })
				},
				func(ctx context.Context) error {
					var name string
					return db.Conn(ctx).QueryRowContext(ctx, "INSERT INTO things (name) VALUES ('a') RETURNING name").Scan(&name)
				},
			} {
				require.ErrorIs(t, database.Explain(write(ctx)), database.ErrUnavailable)
			}
			require.NoError(t, db.Ping(ctx), "reading goes on")
			require.EqualError(t, db.Check(ctx, thingsNeeded),
				"the database is read-only; has refused the last write: it is read-only")

			require.NoError(t, admin.Ping(ctx))
			exec(t, admin, "SET default_transaction_read_only = off")
			setForNew(t, admin, "default_transaction_read_only = off")
			require.Error(t, insert(ctx, db, "a"), "the connection of before")
			require.NoError(t, insert(ctx, db, "a"), "which is closed: the next one is new")
			require.NoError(t, db.Check(ctx, thingsNeeded))
		})
	})

	t.Run("of a right are unavailability and named", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db := prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn})
			require.NoError(t, db.Check(ctx, thingsNeeded))
			exec(t, db, "REVOKE INSERT, DELETE ON things FROM CURRENT_USER")
			require.ErrorIs(t, database.Explain(insert(ctx, db, "a")), database.ErrUnavailable)
			want := "the database denies INSERT on table things; denies DELETE on table things; " +
				"has refused the last write: it denies a right"
			err := db.Check(ctx, thingsNeeded)
			require.EqualError(t, err, want)
			check, ok := errors.AsType[*database.CheckError](err)
			require.True(t, ok)
			require.True(t, check.Readable)

			exec(t, db, "GRANT INSERT (name), DELETE ON things TO CURRENT_USER")
			require.NoError(t, insert(ctx, db, "a"), "rights on the columns that are written do")
			require.NoError(t, db.Check(ctx, thingsNeeded))

			exec(t, db, "CREATE SCHEMA hidden")
			exec(t, db, "ALTER TABLE things SET SCHEMA hidden")
			require.ErrorIs(t, database.Explain(insert(ctx, db, "b")), database.ErrUnavailable)
			require.ErrorContains(t, db.Check(ctx, thingsNeeded), "shows no table things")
		})
	})

	t.Run("by the server's timeouts are unavailability", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			admin := prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn})
			exec(t, admin, "INSERT INTO things (name) VALUES ('a')")
			for parameter, code := range map[string]string{"lock_timeout": "55P03", "statement_timeout": "57014"} {
				db := open(t, database.Options{Dialect: database.Postgres, DSN: dsn + "&" + parameter + "=50"})
				require.NoError(t, admin.WithinTx(ctx, func(holding context.Context) error {
					_, err := admin.Exec(holding, "holding", "SELECT name FROM things FOR UPDATE")
					require.NoError(t, err)
					runs := 0
					err = db.WithinTxRetry(ctx, func(ctx context.Context) error {
						runs++
						_, err := db.Exec(ctx, "waiting", "SELECT name FROM things FOR UPDATE")
						return err
					})
					pg, ok := errors.AsType[*pgconn.PgError](err)
					require.True(t, ok)
					require.Equal(t, code, pg.Code)
					require.Equal(t, map[string]int{"lock_timeout": 2, "statement_timeout": 1}[parameter], runs)
					require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
					return nil
				}))
				require.NoError(t, db.Check(ctx, thingsNeeded), "others' locks say nothing about the server")
			}
		})
	})

	t.Run("of a connection say why without telling where", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			for reason, change := range map[string]func(*url.URL){
				"refuses the user or the password": func(u *url.URL) { u.User = url.UserPassword("identity", "wrong") },
				"does not exist on this server":    func(u *url.URL) { u.Path = "/none" },
				"cannot be reached":                func(u *url.URL) { u.Host = "127.0.0.1:1" },
			} {
				u, err := url.Parse(dsn)
				require.NoError(t, err)
				change(u)
				db := open(t, database.Options{Dialect: database.Postgres, DSN: u.String()})
				err = db.Check(ctx, thingsNeeded)
				require.EqualError(t, err, "the database "+reason)
				check, ok := errors.AsType[*database.CheckError](err)
				require.True(t, ok)
				require.False(t, check.Readable)
			}
		})
	})
}

func TestWithinTxRetry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("repeats the loser of a race once, and the outermost call does", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn})
			db := open(t, database.Options{Dialect: database.Postgres, DSN: dsn + "&default_transaction_isolation=serializable"})
			exec(t, db, "INSERT INTO things (name, place) VALUES ('a', 0)")
			runs := 0
			require.NoError(t, db.WithinTxRetry(ctx, func(ctx context.Context) error {
				return db.WithinTxRetry(ctx, func(ctx context.Context) error {
					runs++
					var place int
					if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT place FROM things WHERE name = 'a'").Scan(&place); err != nil {
						return err
					}
					if runs == 1 {
						exec(t, db, "UPDATE things SET place = 7 WHERE name = 'a'")
					}
					_, err := db.Exec(ctx, "updating", "UPDATE things SET place = $1 WHERE name = 'a'", place+1)
					return err
				})
			}))
			require.Equal(t, 2, runs)
			var place int
			require.NoError(t, db.Conn(ctx).QueryRowContext(ctx, "SELECT place FROM things WHERE name = 'a'").Scan(&place))
			require.Equal(t, 8, place)
		})
	})

	t.Run("repeats the victim of a deadlock", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db := prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn, TxTimeout: time.Minute})
			exec(t, db, "INSERT INTO things (name, place) VALUES ('a', 1), ('b', 2)")
			update := func(ctx context.Context, name string) error {
				_, err := db.Exec(ctx, "updating", "UPDATE things SET at = now() WHERE name = $1", name)
				return err
			}
			var both sync.WaitGroup
			both.Add(2)
			swap := func(first, second string) error {
				runs := 0
				return db.WithinTxRetry(ctx, func(ctx context.Context) error {
					if err := update(ctx, first); err != nil {
						return err
					}
					if runs++; runs == 1 {
						both.Done()
						both.Wait()
					}
					return update(ctx, second)
				})
			}
			other := make(chan error, 1)
			go func() { other <- swap("b", "a") }()
			require.NoError(t, swap("a", "b"))
			require.NoError(t, <-other)
		})
	})

	t.Run("repeats nothing else", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			for _, cause := range []error{errRefused, &pgconn.PgError{Code: "23505"}, &pgconn.PgError{Code: "25006"}, nil} {
				runs := 0
				require.Equal(t, cause, db.WithinTxRetry(ctx, func(context.Context) error {
					runs++
					return cause
				}))
				require.Equal(t, 1, runs)
			}
			runs := 0
			require.Error(t, db.WithinTxRetry(ctx, func(context.Context) error {
				runs++
				return &pgconn.PgError{Code: "40001"}
			}))
			require.Equal(t, 2, runs, "and no more than once")
		})
	})
}

func TestOldestSnapshot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("is as old as the transaction that holds it", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db := prepare(t, database.Options{Dialect: database.Postgres, DSN: dsn})
			age, known, err := db.OldestSnapshot(ctx)
			require.NoError(t, err)
			require.True(t, known)
			require.Zero(t, age)
			require.NoError(t, db.WithinTx(ctx, func(holding context.Context) error {
				_, err := db.Exec(holding, "writing", "INSERT INTO things (name) VALUES ('a')")
				require.NoError(t, err)
				first, _, err := db.OldestSnapshot(ctx)
				require.NoError(t, err)
				require.Positive(t, first)
				later, _, err := db.OldestSnapshot(ctx)
				require.NoError(t, err)
				require.Greater(t, later, first)
				return nil
			}))
		})
	})
	t.Run("is unknown to SQLite, which keeps no deleted rows", func(t *testing.T) {
		t.Parallel()
		db := open(t, database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
		_, known, err := db.OldestSnapshot(ctx)
		require.NoError(t, err)
		require.False(t, known)
	})
}
