package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Need is what a program does with one table.
type Need struct {
	Table  string
	Rights []string // SELECT, INSERT, UPDATE, DELETE
}

// CheckError is why a database cannot do a program's work, in plain words: neither an address nor a server's text.
type CheckError struct {
	Readable bool // the database replies to reads
	Reasons  []string
}

// Error returns the reasons.
func (e *CheckError) Error() string { return "the database " + strings.Join(e.Reasons, "; ") }

// Readable returns a *[CheckError] when the database cannot be read.
func (db *DB) Readable(ctx context.Context) error {
	if err := db.Ping(ctx); err != nil {
		return &CheckError{Reasons: []string{Reason(err)}}
	}
	return nil
}

// Check returns a *[CheckError] when the database cannot do what needs say: it cannot be read, is read-only, denies a
// right, or has refused the last write of this process. It writes nothing. On SQLite it only reads.
func (db *DB) Check(ctx context.Context, needs []Need) error {
	if err := db.Readable(ctx); err != nil || db.dialect == SQLite {
		return err
	}
	reasons, err := db.refusals(ctx, needs)
	if err != nil {
		reasons = append(reasons, Reason(err))
	}
	if last := db.writes.refusal.Load(); last != nil {
		reasons = append(reasons, "has refused the last write: it "+*last)
	}
	if reasons == nil {
		return nil
	}
	return &CheckError{Readable: true, Reasons: reasons}
}

// OldestSnapshot returns how long the oldest transaction has been open that keeps deleted rows from being vacuumed; zero
// when there is none. Of other users it sees only what the server shows: all with pg_read_all_stats. known is false for a
// database that keeps no deleted rows.
func (db *DB) OldestSnapshot(ctx context.Context) (age time.Duration, known bool, err error) {
	if db.dialect != Postgres {
		return 0, false, nil
	}
	var seconds float64
	err = db.pool.QueryRowContext(ctx, `
		SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - since)), 0)::float8 FROM (
			SELECT xact_start AS since FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
			  AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
			UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()) open`).Scan(&seconds)
	return time.Duration(max(0, seconds) * float64(time.Second)), true, Wrap("looking for the oldest snapshot", err)
}

// refusals returns what the server would refuse.
func (db *DB) refusals(ctx context.Context, needs []Need) (reasons []string, err error) {
	var standby, readOnly bool
	err = db.pool.QueryRowContext(ctx, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean").
		Scan(&standby, &readOnly)
	if err != nil {
		return nil, err
	}
	switch {
	case standby:
		reasons = append(reasons, "is a standby, which is read-only")
	case readOnly:
		reasons = append(reasons, "is read-only")
	}
	if len(needs) == 0 {
		return reasons, nil
	}
	rows, err := db.pool.QueryContext(ctx, rightsQuery(needs))
	if err != nil {
		return reasons, err
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		var right sql.NullString
		if err := rows.Scan(&table, &right); err != nil {
			return reasons, err
		}
		reason := fmt.Sprintf("denies %s on table %s", right.String, table)
		if !right.Valid {
			reason = fmt.Sprintf("shows no table %s: it is missing, or USAGE on its schema is", table)
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return reasons, rows.Err()
}

// rightsQuery returns a query for each missing right, NULL where the table is missing. A right on some columns counts:
// the server knows best which a statement needs.
func rightsQuery(needs []Need) string {
	var values []string
	for _, n := range needs {
		for _, right := range n.Rights {
			values = append(values, fmt.Sprintf("(%d, '%s', '%s')", len(values), n.Table, right))
		}
	}
	return "SELECT name, CASE WHEN oid IS NOT NULL THEN wanted END" +
		" FROM (SELECT n, name, wanted, to_regclass(name) AS oid FROM (VALUES " + strings.Join(values, ", ") +
		") v (n, name, wanted)) t WHERE oid IS NULL OR NOT CASE wanted WHEN 'DELETE' THEN has_table_privilege(oid, wanted)" +
		" ELSE has_any_column_privilege(oid, wanted) END ORDER BY n"
}

// lastWrite is the outcome of the last write of this process. What another transaction or the caller was the cause of
// is none: a lock, a cancellation, a defect.
type lastWrite struct{ refusal atomic.Pointer[string] }

func (w *lastWrite) succeeded() {
	if w.refusal.Load() != nil {
		w.refusal.Store(nil)
	}
}

func (w *lastWrite) failed(err error) {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || isDefect(pg.Code) || IsConflict(err) || pg.Code == queryCanceled || pg.Code == afterFailure {
		return
	}
	reason := Reason(err)
	w.refusal.Store(&reason)
}

// reasons are what a server's refusal means, by its code or the class of that, which continue "the database".
var reasons = map[string]string{
	readOnly:             "is read-only",
	insufficientRights:   "denies a right",
	queryCanceled:        "has ended a statement that took too long (statement_timeout)",
	lockNotAvailable:     "has ended a wait for a lock (lock_timeout)",
	serializationFailure: "has ended a transaction that lost a race",
	deadlock:             "has ended a transaction in a deadlock",
	duplicateStatement:   transactionPooling,
	unknownStatement:     transactionPooling,
	"25P03":              "has ended a transaction that waited for us (idle_in_transaction_session_timeout)",
	"28":                 "refuses the user or the password",
	"3D000":              "does not exist on this server",
	unknownTable:         "has no such table, or shows it to another role or search path only",
	"3F000":              "has no schema for new tables: see search_path",
	"53100":              "is out of disk space",
	"53200":              "is out of memory",
	"53300":              "has no connection left",
	"57P03":              "is starting up",
	"57P04":              "was dropped",
	"57P05":              "closes idle connections (idle_session_timeout)",
	"57P":                "is shutting down",
	"58":                 "reports an error of its storage",
	"XX":                 "reports an internal error or damaged data",
}

// transactionPooling is the remedy as well: an operator reads it at the start.
const transactionPooling = "is behind a pooler in transaction mode, where prepared statements get lost: set POSTGRES_EXEC_MODE=exec"

// Reason returns what err means in plain words that continue "the database …". They contain neither an address nor a
// server's text.
func Reason(err error) string {
	if errors.Is(err, errReplaced) {
		return "has only a primary that was replaced: bring back the one that was promoted, or, to use the old one after all, " +
			"restart this process"
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, length := range []int{5, 3, 2} {
			if text, ok := reasons[pg.Code[:min(length, len(pg.Code))]]; ok {
				return text
			}
		}
		return "refuses statements (SQLSTATE " + pg.Code + ")"
	}
	if errors.Is(err, errReadOnlyServer) {
		return "has no server among POSTGRES_HOST that takes writes"
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_READONLY:
			return "is read-only"
		case sqlite3.SQLITE_FULL:
			return "is out of disk space"
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return "is locked by another process"
		}
		return fmt.Sprintf("cannot be used (SQLite's code %d)", lite.Code())
	}
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "does not respond in time"
	default:
		return "cannot be reached"
	}
}

// IsMissing reports whether err means that a statement names a table that the database does not have, or does not show.
func IsMissing(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == unknownTable
	}
	lite, ok := errors.AsType[*sqlite.Error](err)
	return ok && lite.Code() == sqlite3.SQLITE_ERROR
}

// IsPooled reports whether err shows that the database is behind a pooler in transaction mode that does not suit the
// [ExecMode]. Waiting does not help.
func IsPooled(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == duplicateStatement || pg.Code == unknownStatement)
}
