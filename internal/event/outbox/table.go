package outbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Table is a table of rows that wait to be published. It holds the columns that a relay works by: id, lease_until,
// attempts, last_error, available_at, failed_at and seal_key.
type Table string

// Rows is the outbox.
const Rows Table = "outbox"

// Remove deletes rows that were confirmed in one statement.
func (t Table) Remove(ctx context.Context, db *database.DB, ids ...string) error {
	_, err := db.Conn(ctx).ExecContext(ctx,
		"DELETE FROM "+string(t)+" WHERE id IN ("+database.Placeholders(1, len(ids))+")", anys(ids)...)
	return err
}

// Postpone counts a failed try of one row. With failedAt set the row stays where it is until Retry.
func (t Table) Postpone(
	ctx context.Context, db *database.DB, id, class string, availableAt time.Time, failedAt *time.Time,
) error {
	_, err := db.Conn(ctx).ExecContext(ctx, "UPDATE "+string(t)+`
		SET lease_until = NULL, attempts = attempts + 1, last_error = $2, available_at = $3, failed_at = $4
		WHERE id = $1`, id, class, availableAt, failedAt)
	return err
}

// Retry makes every row that was given up due again and returns how many there were.
func (t Table) Retry(ctx context.Context, db *database.DB, now time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "UPDATE "+string(t)+
		" SET failed_at = NULL, attempts = 0, available_at = $1 WHERE failed_at IS NOT NULL", now)
	if err != nil {
		return 0, fmt.Errorf("%s: retrying failed rows: %w", t, err)
	}
	return result.RowsAffected()
}

// DropFailed deletes up to limit rows with personal data that were given up and were stored at then or before, those first
// that were given up first, and returns how many. Rows that wait are not among them, however old they are.
func (t Table) DropFailed(ctx context.Context, db *database.DB, then time.Time, limit int) (int64, error) {
	personal := ""
	if t == Rows {
		personal = " AND sealed"
	}
	return db.Exec(ctx, string(t)+": dropping failed rows", "DELETE FROM "+string(t)+" WHERE id IN (SELECT id FROM "+string(t)+
		" WHERE failed_at IS NOT NULL AND created_at <= $1"+personal+" ORDER BY failed_at LIMIT $2"+db.Dialect().ForUpdateSkipLocked()+")",
		database.Truncate(then), limit)
}

// Depth is how full a table is.
type Depth struct {
	Rows      int           // waiting, due or not
	Failed    int           // given up; they wait for Retry
	OldestDue time.Duration // how long the oldest due row has been due; 0 when none is
}

// Add returns the depth of both tables together.
func (d Depth) Add(other Depth) Depth {
	return Depth{
		Rows:      d.Rows + other.Rows,
		Failed:    d.Failed + other.Failed,
		OldestDue: max(d.OldestDue, other.OldestDue),
	}
}

// Depth reads how full the table is.
func (t Table) Depth(ctx context.Context, db *database.DB, now time.Time) (Depth, error) {
	var d Depth
	q := db.Conn(ctx)
	count := func(where string) (n int, err error) {
		err = q.QueryRowContext(ctx, "SELECT count(*) FROM "+string(t)+" WHERE failed_at IS "+where).Scan(&n)
		return n, database.Wrap(string(t)+": counting rows", err)
	}
	var err error
	if d.Failed, err = count("NOT NULL"); err != nil {
		return d, err
	}
	shares := []string{""}
	if t == Rows {
		shares = []string{" AND batch_id IS NULL", " AND batch_id IS NOT NULL"} // each has an index of its own
	}
	for _, share := range shares {
		rows, err := count("NULL" + share)
		if err != nil {
			return d, err
		}
		d.Rows += rows
		var oldest time.Time
		err = q.QueryRowContext(ctx, `
			SELECT available_at FROM `+string(t)+` WHERE failed_at IS NULL`+share+` AND available_at <= $1
			ORDER BY available_at LIMIT 1`, now).Scan(&oldest)
		if err != nil && !database.IsNotFound(err) {
			return d, fmt.Errorf("%s: reading the oldest due row: %w", t, err)
		}
		if err == nil {
			d.OldestDue = max(d.OldestDue, now.Sub(oldest))
		}
	}
	return d, nil
}

// NextDue returns when the first row that has not been given up is due, which may be long ago: ok is false when there is
// none. A row that a relay has in hand is still there.
func (t Table) NextDue(ctx context.Context, db *database.DB) (due time.Time, ok bool, err error) {
	err = db.Conn(ctx).QueryRowContext(ctx, "SELECT available_at FROM "+string(t)+
		" WHERE failed_at IS NULL ORDER BY available_at LIMIT 1").Scan(&due)
	if database.IsNotFound(err) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("%s: reading when the next row is due: %w", t, err)
	}
	return due.UTC(), true, nil
}

// sealedElsewhere counts the rows that wait and were sealed with another key than those of keyIDs. It looks between those
// keys in an index, and reads no row of theirs, however many wait.
func (t Table) sealedElsewhere(ctx context.Context, db *database.DB, keyIDs []string) (n int, err error) {
	known := slices.Sorted(slices.Values(keyIDs)) // hexadecimal: in this order in every collation
	var counts []string
	for i := range len(known) + 1 {
		count := "(SELECT count(*) FROM " + string(t) + " WHERE failed_at IS NULL"
		if i > 0 {
			count += " AND seal_key > $" + strconv.Itoa(i)
		}
		if i < len(known) {
			count += " AND seal_key < $" + strconv.Itoa(i+1)
		}
		counts = append(counts, count+")")
	}
	err = db.Conn(ctx).QueryRowContext(ctx, "SELECT "+strings.Join(counts, " + "), anys(known)...).Scan(&n)
	return n, err
}

// Waiting is a row that waits to be published.
type Waiting struct {
	EventID  string
	DueAt    time.Time // when it is tried next
	FailedAt time.Time // when it was given up; zero: it was not
	Class    string    // why it has failed last; empty: it has not
}

// idsPerFind is few enough for SQLite's driver.
const idsPerFind = 200

// Find returns those rows of the events that are there.
func (t Table) Find(ctx context.Context, db *database.DB, eventIDs []string) (found []Waiting, err error) {
	for ids := range slices.Chunk(eventIDs, idsPerFind) {
		args, in := database.In(ids)
		part, err := database.All(ctx, db, string(t)+": looking for events", scanWaiting,
			"SELECT event_id, available_at, failed_at, COALESCE(last_error, '') FROM "+string(t)+
				" WHERE event_id IN ("+in+")", args...)
		if err != nil {
			return nil, err
		}
		found = append(found, part...)
	}
	return found, nil
}

func scanWaiting(row database.Row) (w Waiting, err error) {
	err = row.Scan(&w.EventID, database.UTC(&w.DueAt), database.UTC(&w.FailedAt), &w.Class)
	return w, err
}
