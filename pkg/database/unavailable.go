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

// ErrUnavailable is what a client receives while the database cannot be used: nothing is wrong with the request.
var ErrUnavailable = apperror.New(apperror.Unavailable, 503, "The service is not available right now; please try again in a moment")

// Explain returns [ErrUnavailable] with err as its cause when err means that the database is unavailable, is shutting
// down, is full, or did not reply in time. It returns every other error as it is, an *apperror.Error included.
func Explain(err error) error {
	if _, explained := errors.AsType[*apperror.Error](err); explained || err == nil || !isUnavailable(err) {
		return err
	}
	return ErrUnavailable.WithCause(err)
}

func isUnavailable(err error) bool {
	for _, known := range []error{
		context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, known) {
			return true
		}
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
