// Package sqldb stores batches, their invitations and the pace of their mails in PostgreSQL or SQLite.
//
// Every method takes part in the transaction of its context, and uses its own tables only: accounts are another
// package's. What an id cannot be is not found, rather than an error of the database.
package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// rowsPer is how many rows one statement has: on PostgreSQL enough to make the round trip small beside the work, on
// SQLite fewer, because its driver's time grows with the square of the parameters.
func rowsPer(d database.Dialect) int {
	if d == database.SQLite {
		return 20
	}
	return 500
}

// exec executes a statement in the transaction of ctx. It returns database.ErrNoTx outside a transaction.
func exec(ctx context.Context, db *database.DB, doing, statement string, args ...any) (sql.Result, error) {
	tx, err := db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	result, err := tx.ExecContext(ctx, statement, args...)
	return result, wrap(doing, err)
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scanAll reads every row and closes rows.
func scanAll[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, wrap("reading rows", rows.Err())
}

// truncate returns t as both engines can give it back.
func truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// nullTime is NULL for the zero time.
func nullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: truncate(t), Valid: !t.IsZero()} }

// zeroTime is the zero time for NULL.
func zeroTime(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("invitation/sqldb: %s: %w", doing, err)
}
