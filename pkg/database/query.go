package database

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Exec executes a statement and returns how many rows it changed. Like [DB.Conn] it joins the transaction of ctx. doing
// begins its errors.
func (db *DB) Exec(ctx context.Context, doing, statement string, args ...any) (changed int64, err error) {
	result, err := db.Conn(ctx).ExecContext(ctx, statement, args...)
	if err == nil {
		changed, err = result.RowsAffected()
	}
	return changed, Wrap(doing, err)
}

// ExecTx is [DB.Exec] that returns [ErrNoTx] outside a transaction.
func (db *DB) ExecTx(ctx context.Context, doing, statement string, args ...any) (changed int64, err error) {
	if _, err := db.Tx(ctx); err != nil {
		return 0, err
	}
	return db.Exec(ctx, doing, statement, args...)
}

// Row is a *sql.Row, or the present one of *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// All returns what scan reads from each row of a query, which joins the transaction of ctx. doing begins its errors.
func All[T any](
	ctx context.Context, db *DB, doing string, scan func(Row) (T, error), query string, args ...any,
) ([]T, error) {
	rows, err := db.Conn(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, Wrap(doing, err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, Wrap(doing, err)
		}
		all = append(all, one)
	}
	return all, Wrap(doing, rows.Err())
}

// Text reads a row of one text, for [All].
func Text(row Row) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// Wrap returns err with what failed in front of it, and nil for nil.
func Wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// WrapRow is [Wrap] for the error of a query of one row: it returns notFound when there is none.
func WrapRow(doing string, err, notFound error) error {
	if IsNotFound(err) {
		return notFound
	}
	return Wrap(doing, err)
}

// Truncate returns t as both engines can give it back.
func Truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// NullTime returns t truncated, and NULL for the zero time.
func NullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: Truncate(t), Valid: !t.IsZero()} }

// UTC scans a time into t, in UTC, and NULL as the zero time.
func UTC(t *time.Time) sql.Scanner { return utc{t} }

type utc struct{ t *time.Time }

// Scan implements [sql.Scanner].
func (u utc) Scan(value any) error {
	var t sql.NullTime
	err := t.Scan(value)
	*u.t = t.Time.UTC()
	return err
}

// FillTimes sets every time that is zero, as [UTC] scans NULL, to the first one that is not, and all to the Unix epoch when
// none is known.
func FillTimes(times ...*time.Time) {
	known := time.Unix(0, 0).UTC()
	if i := slices.IndexFunc(times, func(t *time.Time) bool { return !t.IsZero() }); i >= 0 {
		known = *times[i]
	}
	for _, t := range times {
		if t.IsZero() {
			*t = known
		}
	}
}

// UUID returns id as both engines store it. For a text that is no UUID, over which PostgreSQL would abort the
// transaction, it returns one that no row has.
func UUID(id string) string {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil.String()
	}
	return parsed.String()
}

// RowsPer returns how many rows one statement should have: on PostgreSQL enough to make the round trip small beside the
// work, on SQLite fewer, because its driver's time grows with the square of the parameters.
func (d Dialect) RowsPer() int {
	if d == SQLite {
		return 20
	}
	return 500
}

// In returns args with ids behind them, and their placeholders for IN (…).
func In(ids []string, args ...any) (all []any, placeholders string) {
	all = slices.Clone(args)
	for _, id := range ids {
		all = append(all, id)
	}
	return all, Placeholders(1+len(args), len(ids))
}
