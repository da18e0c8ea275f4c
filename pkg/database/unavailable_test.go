package database_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/database"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	t.Run("makes what a client can retry unavailable", func(t *testing.T) {
		t.Parallel()
		refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		for name, cause := range map[string]error{
			"refused": refused, "cut": io.ErrUnexpectedEOF, "deadline": context.DeadlineExceeded,
			"shutting down": &pgconn.PgError{Code: "57P01"}, "too many connections": &pgconn.PgError{Code: "53300"},
		} {
			err := database.Explain(fmt.Errorf("reading a user: %w", cause))
			require.ErrorIs(t, err, database.ErrUnavailable, name)
			require.ErrorIs(t, err, cause, "the cause stays for the log")
		}
		for name, other := range map[string]error{
			"a constraint": &pgconn.PgError{Code: "23505"}, "a fault of ours": errors.New("nil map"), "the client hung up": context.Canceled,
		} {
			require.Same(t, other, database.Explain(other), name)
		}
		require.NoError(t, database.Explain(nil))

		busy := apperror.New(apperror.Unavailable, 503, "busy").WithCause(context.DeadlineExceeded)
		require.Same(t, busy, database.Explain(busy), "an error of another dependency")
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
