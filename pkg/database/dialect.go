package database

import (
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Dialect is the engine behind a pool, and what differs between the two.
type Dialect string

// The engines.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

// ForUpdate returns the clause that locks the rows of a SELECT until the transaction ends. SQLite needs none: its
// transactions begin as writers, one at a time.
func (d Dialect) ForUpdate() string {
	if d == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// ForUpdateOf is ForUpdate for the rows of one table of a join, by its name in the statement.
func (d Dialect) ForUpdateOf(table string) string {
	if d == Postgres {
		return " FOR UPDATE OF " + table
	}
	return ""
}

// ForShare is ForUpdate that lets others read the rows in the same way, and keeps them from being changed.
func (d Dialect) ForShare() string {
	if d == Postgres {
		return " FOR SHARE"
	}
	return ""
}

// ForUpdateSkipLocked is ForUpdate that skips the rows another transaction has locked.
func (d Dialect) ForUpdateSkipLocked() string {
	if d == Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// ForUpdateSkipLockedOf is ForUpdateSkipLocked for the rows of one table of a join, by its name in the statement.
func (d Dialect) ForUpdateSkipLockedOf(table string) string {
	if d == Postgres {
		return " FOR UPDATE OF " + table + " SKIP LOCKED"
	}
	return ""
}

// IsUniqueViolation reports whether err is the violation of a unique index. PostgreSQL has aborted the transaction by
// then: use IsUniqueViolation to explain a failure, and ON CONFLICT DO NOTHING to continue.
func (d Dialect) IsUniqueViolation(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505" // unique_violation, PostgreSQL appendix A
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	return false
}

// Placeholders returns "$first, $first+1, …" for n values, to be put into IN (…). Both engines accept 32,766 in one
// statement, but the time of SQLite's driver grows with the square: it needs seconds for that many.
func Placeholders(first, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(names, ", ")
}

// Rows returns "($1, …), (…)" for n rows of so many columns, to be put behind VALUES. Mind the limit of [Placeholders].
func Rows(n, columns int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = "(" + Placeholders(1+i*columns, columns) + ")"
	}
	return strings.Join(rows, ", ")
}
