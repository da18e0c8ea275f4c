package database

import (
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Dialect is the engine behind a pool, and everything that is not the same SQL on both.
type Dialect string

// The engines.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

func (d Dialect) driver() string {
	if d == Postgres {
		return "pgx"
	}
	return "sqlite"
}

// ForUpdate locks the rows a SELECT reads until the transaction ends. SQLite needs nothing: its transactions
// are begun as writers, one at a time.
func (d Dialect) ForUpdate() string {
	if d == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// ForUpdateSkipLocked is ForUpdate that passes over rows somebody else holds.
func (d Dialect) ForUpdateSkipLocked() string {
	if d == Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// IsUniqueViolation tells whether err is a breach of a unique index. On PostgreSQL the transaction is aborted
// by then, so use it to explain a failure, and ON CONFLICT DO NOTHING to go on.
func (d Dialect) IsUniqueViolation(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505" // unique_violation, PostgreSQL appendix A
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	return false
}

// Placeholders answers "$first, $first+1, …" for n values, to be put into IN (…). Both engines take 32,766 in one
// statement, but SQLite's driver needs time that grows with the square: seconds for that many.
func Placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}

// Rows answers "($1, …), (…)" for n rows of this many columns, to be put behind VALUES. What Placeholders says of
// SQLite's driver holds here as well.
func Rows(n, columns int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		b.WriteString(Placeholders(1+i*columns, columns))
		b.WriteByte(')')
	}
	return b.String()
}
