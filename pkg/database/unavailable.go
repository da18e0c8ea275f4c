package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smap-platform/identity/pkg/apperror"
)

// ErrUnavailable is what a client is told while the database cannot be used: nothing is wrong with the request.
var ErrUnavailable = apperror.New(apperror.Unavailable, 503, "The service is not available right now; please try again in a moment")

// Explain answers ErrUnavailable with err as its cause when err means that the database is away, is shutting down,
// is full, or did not answer in time; every other error as it is, those
// that already say what a client is told included.
func Explain(err error) error {
	if _, said := errors.AsType[*apperror.Error](err); said || err == nil || !away(err) {
		return err
	}
	return ErrUnavailable.WithCause(err)
}

func away(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// PostgreSQL appendix A: 08 connection exception, 53 insufficient resources, 57P operator intervention.
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57P")
	}
	return false
}
