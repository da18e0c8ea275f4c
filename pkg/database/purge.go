package database

import (
	"context"
	"time"
)

// purgeBatch is how many rows one transaction of a purge changes: who waits for one of them, or on SQLite for the only
// connection, waits for some milliseconds.
const purgeBatch = 250

// Purge is what [DB.Purge] does to which rows.
type Purge struct {
	Table string
	Key   string // the columns of its primary key, separated by commas
	Where string // with the arguments from $1 on
	// Oldest is the column that says how old a row is: the oldest go first. Where a table can be large an index on it has to
	// lead to the rows of Where. Without an order PostgreSQL reads the table from its beginning for every transaction,
	// because it expects to find such rows soon.
	Oldest string
	// Set is what an UPDATE sets, after which the row must not be among those of Where. Empty: rows are deleted.
	Set string
}

// Purge deletes or changes all rows that meet a condition, the oldest first, however many there are: so many in a transaction of their own,
// and then it rests four times as long as that took, so that others come first. It passes over rows that another
// transaction has locked, and returns how many it has changed, after an error as well. doing begins its errors.
//
// In a transaction it is part of that, and holds its rows until the end.
func (db *DB) Purge(ctx context.Context, doing string, p Purge, args ...any) (changed int64, err error) {
	change := "DELETE FROM " + p.Table
	if p.Set != "" {
		change = "UPDATE " + p.Table + " SET " + p.Set
	}
	// MATERIALIZED: the planner must not run the locking subquery more than once.
	statement := "WITH batch AS MATERIALIZED (SELECT " + p.Key + " FROM " + p.Table + " WHERE " + p.Where + " ORDER BY " + p.Oldest + " LIMIT " +
		Placeholders(len(args)+1, 1) + db.dialect.ForUpdateSkipLocked() + ") " +
		change + " WHERE (" + p.Key + ") IN (SELECT " + p.Key + " FROM batch)"
	args = append(args, purgeBatch)
	for {
		began := time.Now()
		n, err := db.Exec(ctx, doing, statement, args...)
		changed += n
		if err != nil || n < purgeBatch {
			return changed, err
		}
		select {
		case <-ctx.Done():
			return changed, Wrap(doing, ctx.Err())
		case <-time.After(4 * time.Since(began)):
		}
	}
}
