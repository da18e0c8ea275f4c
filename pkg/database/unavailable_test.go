package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/database"
)

func TestReason(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"25006": "is read-only", "28P01": "refuses the user or the password", "28000": "refuses the user or the password",
		"53100": "is out of disk space", "57P01": "is shutting down", "57P03": "is starting up", "58030": "reports an error of its storage",
		"55000": "refuses statements (SQLSTATE 55000)", "": "refuses statements (SQLSTATE )",
	} {
		err := &pgconn.PgError{Code: code, Message: "10.0.0.1 hunter2", Detail: "hunter2"}
		require.Equal(t, want, database.Reason(fmt.Errorf("reading: %w", err)))
	}
	require.Equal(t, "cannot be reached", database.Reason(&net.OpError{Op: "dial", Err: errors.New("10.0.0.1 refused")}))
	require.Equal(t, "does not respond in time", database.Reason(context.DeadlineExceeded))
	require.True(t, database.IsPooled(&pgconn.PgError{Code: "26000"}))
	require.False(t, database.IsPooled(errors.New("26000")))
}

func TestExplain(t *testing.T) {
	t.Parallel()
	t.Run("makes what a client can retry unavailable", func(t *testing.T) {
		t.Parallel()
		refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		for name, cause := range map[string]error{
			"refused": refused, "cut": io.ErrUnexpectedEOF, "deadline": context.DeadlineExceeded,
			"shutting down": &pgconn.PgError{Code: "57P01"}, "too many connections": &pgconn.PgError{Code: "53300"},
			"read-only": &pgconn.PgError{Code: "25006"}, "a lost right": &pgconn.PgError{Code: "42501"},
			"a lock": &pgconn.PgError{Code: "55P03"}, "a statement's time": &pgconn.PgError{Code: "57014"},
			"a race": &pgconn.PgError{Code: "40001"}, "a full disk": &pgconn.PgError{Code: "53100"},
			"a pooler": &pgconn.PgError{Code: "42P05"}, "a hidden table": &pgconn.PgError{Code: "42P01"},
			"a code that nobody knows": &pgconn.PgError{Code: "ZZ999"}, "the end of a transaction": sql.ErrTxDone,
		} {
			err := database.Explain(fmt.Errorf("reading a user: %w", cause))
			require.ErrorIs(t, err, database.ErrUnavailable, name)
			require.ErrorIs(t, err, cause, "the cause stays for the log")
		}
		for name, other := range map[string]error{
			"a constraint": &pgconn.PgError{Code: "23505"}, "a fault of ours": errors.New("nil map"), "the client hung up": context.Canceled,
			"a value": &pgconn.PgError{Code: "22P02"}, "syntax": &pgconn.PgError{Code: "42601"}, "types": &pgconn.PgError{Code: "42883"},
		} {
			require.Same(t, other, database.Explain(other), name)
		}
		require.NoError(t, database.Explain(nil))

		busy := apperror.New(apperror.Unavailable, 503, "busy").WithCause(context.DeadlineExceeded)
		require.Same(t, busy, database.Explain(busy), "an error of another dependency")
	})

	t.Run("knows a defect of a statement from a server's state", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			for _, statement := range []string{
				"INSRT INTO things", "INSERT INTO things (name) VALUES ('a'), ('a')", "SELECT nothing('a')",
			} {
				_, err := db.Exec(t.Context(), "testing", statement)
				require.Error(t, err)
				require.Same(t, err, database.Explain(err), statement)
			}
		})
	})

	t.Run("makes a SQLite file that another process locks, or that is read-only, unavailable", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		db := prepare(t, database.Options{Dialect: database.SQLite, DSN: path})
		exec(t, db, "PRAGMA query_only = on")
		err := insert(t.Context(), db, "a")
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
		require.Equal(t, "is read-only", database.Reason(err))
		exec(t, db, "PRAGMA query_only = off")

		exec(t, db, "PRAGMA busy_timeout = 1")
		other := open(t, database.Options{Dialect: database.SQLite, DSN: path})
		require.NoError(t, other.WithinTx(t.Context(), func(context.Context) error {
			err := insert(t.Context(), db, "a")
			require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
			require.Equal(t, "is locked by another process", database.Reason(err))
			return nil
		}))
	})

	t.Run("explains an absent server", func(t *testing.T) {
		t.Parallel()
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := listener.Addr().String()
		require.NoError(t, listener.Close())
		db, err := database.Open(database.Options{Dialect: database.Postgres, DSN: "postgres://u:p@" + address + "/d?sslmode=disable"})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		require.ErrorIs(t, database.Explain(db.Ping(t.Context())), database.ErrUnavailable)
		err = db.WithinTx(t.Context(), func(context.Context) error { return nil })
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
	})
}
