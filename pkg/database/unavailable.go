package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/smap-platform/identity/pkg/apperror"
)

// ErrUnavailable is what a client receives while the database cannot be used: nothing is wrong with the request.
var ErrUnavailable = apperror.New(apperror.Unavailable, 503, "The service is not available right now; please try again in a moment")

// Explain returns [ErrUnavailable] with err as its cause when err is one of the database, unless it proves a defect of
// ours: no list of an engine's refusals is complete, and a later try may succeed. It returns every other error as it is,
// an *apperror.Error included.
func Explain(err error) error {
	if _, explained := errors.AsType[*apperror.Error](err); explained || err == nil || !isUnavailable(err) {
		return err
	}
	return ErrUnavailable.WithCause(err)
}

// The codes of PostgreSQL that are named in this package (PostgreSQL appendix A).
const (
	readOnly             = "25006"
	serializationFailure = "40001"
	deadlock             = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
	insufficientRights   = "42501"
	unknownTable         = "42P01"
	duplicateStatement   = "42P05"
	unknownStatement     = "26000"
	afterFailure         = "25P02"
)

// defects are the codes that a statement of ours gets on every server with our schema. An unknown table or column is
// none of them: that is what a lost right on the schema, another search path and a missing migration look like.
var defects = []string{
	"42601", // syntax error
	"42702", // ambiguous column
	"42804", // datatype mismatch
	"42846", // cannot coerce
	"42883", // no such function or operator for these types
	"42P08", // ambiguous parameter
	"42P18", // indeterminate datatype
}

// isDefect reports whether the code proves a defect of ours: a statement that can never work, a value of the wrong form
// (class 22) or a broken constraint (class 23).
func isDefect(code string) bool {
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || slices.Contains(defects, code)
}

// liteDefects are the same in SQLite, which has one code for all that is wrong with a statement.
var liteDefects = []int{
	sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE,
	sqlite3.SQLITE_TOOBIG,
}

func isUnavailable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return !isDefect(pg.Code)
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return !slices.Contains(liteDefects, lite.Code()&0xff) // the upper bytes refine it
	}
	if _, ok := errors.AsType[*driverError](err); ok {
		return true
	}
	// What reaches a caller without passing the driver: waits for a connection, and an ended transaction, which is one
	// that has exceeded its deadline.
	for _, known := range []error{
		context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok
}

// IsConflict reports whether err is the outcome of a race with another transaction, so that a second try of the whole
// transaction can succeed at once.
func IsConflict(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == serializationFailure || pg.Code == deadlock || pg.Code == lockNotAvailable)
}
