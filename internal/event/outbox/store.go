package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

type row struct {
	id          string
	message     event.Message
	sealed      bool
	createdAt   time.Time
	availableAt time.Time
	leaseUntil  time.Time
	attempts    int
}

func insert(ctx context.Context, q database.Querier, r row) error {
	headers, err := json.Marshal(r.message.Headers)
	if err != nil {
		return err
	}
	m := r.message
	_, err = q.ExecContext(ctx, `
		INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, single, headers, body,
			sealed, event_time, created_at, available_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		r.id, m.ID, m.Exchange, m.RoutingKey, m.ContentType, m.Mandatory, m.Single, string(headers), m.Body, r.sealed,
		m.Timestamp, r.createdAt, r.availableAt)
	return err
}

// claim takes up to limit due rows by a lease, oldest first. Another relay passes over them until it ends.
func claim(ctx context.Context, db *database.DB, now time.Time, lease time.Duration, limit int) ([]row, error) {
	// MATERIALIZED: the planner must not run the locking subquery more than once.
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		WITH due AS MATERIALIZED (
			SELECT id FROM outbox
			WHERE failed_at IS NULL AND available_at <= $1 AND (lease_until IS NULL OR lease_until <= $1)
			ORDER BY available_at, id
			LIMIT $2`+db.Dialect().ForUpdateSkipLocked()+`)
		UPDATE outbox SET lease_until = $3
		WHERE id IN (SELECT id FROM due)
		RETURNING id, event_id, exchange, routing_key, content_type, mandatory, single, headers, body, sealed, event_time,
			created_at, available_at, lease_until, attempts`, now, limit, now.Add(lease))
	if err != nil {
		return nil, fmt.Errorf("outbox: claiming rows: %w", err)
	}
	claimed, err := scanRows(rows)
	if err != nil {
		return nil, fmt.Errorf("outbox: reading claimed rows: %w", err)
	}
	slices.SortFunc(claimed, func(a, b row) int {
		return cmp.Or(a.availableAt.Compare(b.availableAt), cmp.Compare(a.id, b.id))
	})
	return claimed, nil
}

func scanRows(rows *sql.Rows) (out []row, err error) {
	defer rows.Close()
	for rows.Next() {
		var r row
		var headers string
		m := &r.message
		if err := rows.Scan(&r.id, &m.ID, &m.Exchange, &m.RoutingKey, &m.ContentType, &m.Mandatory, &m.Single, &headers,
			&m.Body, &r.sealed, &m.Timestamp, &r.createdAt, &r.availableAt, &r.leaseUntil, &r.attempts); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(headers), &m.Headers); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// remove deletes confirmed rows in one statement.
func remove(ctx context.Context, db *database.DB, ids []string) error {
	_, err := db.Conn(ctx).ExecContext(ctx,
		"DELETE FROM outbox WHERE id IN ("+database.Placeholders(1, len(ids))+")", anys(ids)...)
	return err
}

// release gives rows of one claim back untouched, due at once: nothing was wrong with them. A row whose lease somebody
// else holds by now, because this process was stopped for longer than its own lasted, is left to him.
func release(ctx context.Context, db *database.DB, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	args := []any{rows[0].leaseUntil.UTC()}
	for _, r := range rows {
		args = append(args, r.id)
	}
	_, err := db.Conn(ctx).ExecContext(ctx, "UPDATE outbox SET lease_until = NULL WHERE lease_until = $1 AND id IN ("+
		database.Placeholders(2, len(rows))+")", args...)
	return err
}

// postpone counts a failed try of one row. With failedAt set it stays where it is until a person looks.
func postpone(ctx context.Context, db *database.DB, id, class string, availableAt time.Time, failedAt *time.Time) error {
	_, err := db.Conn(ctx).ExecContext(ctx, `
		UPDATE outbox SET lease_until = NULL, attempts = attempts + 1, last_error = $2, available_at = $3, failed_at = $4
		WHERE id = $1`, id, class, availableAt, failedAt)
	return err
}

// Depth is how full the outbox is.
type Depth struct {
	Rows      int           // waiting, due or not
	Failed    int           // given up; they wait for Retry
	OldestDue time.Duration // how long the oldest due row has been due; 0 when none is
}

// ReadDepth reads it.
func ReadDepth(ctx context.Context, db *database.DB, now time.Time) (Depth, error) {
	var d Depth
	q := db.Conn(ctx)
	err := q.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM outbox WHERE failed_at IS NULL),
		       (SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL)`).Scan(&d.Rows, &d.Failed)
	if err != nil {
		return d, fmt.Errorf("outbox: counting rows: %w", err)
	}
	var oldest time.Time
	err = q.QueryRowContext(ctx, `
		SELECT available_at FROM outbox WHERE failed_at IS NULL AND available_at <= $1
		ORDER BY available_at LIMIT 1`, now).Scan(&oldest)
	if err != nil && !database.IsNotFound(err) {
		return d, fmt.Errorf("outbox: reading the oldest due row: %w", err)
	}
	if err == nil {
		d.OldestDue = now.Sub(oldest)
	}
	return d, nil
}

// Waiting counts the rows addressed to exchange, given-up ones included: what may still appear there.
func Waiting(ctx context.Context, db *database.DB, exchange string) (int, error) {
	var n int
	err := db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM outbox WHERE exchange = $1", exchange).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("outbox: counting rows for %s: %w", exchange, err)
	}
	return n, nil
}

// Retry makes every failed row due again and answers how many there were.
func Retry(ctx context.Context, db *database.DB, now time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx,
		"UPDATE outbox SET failed_at = NULL, attempts = 0, available_at = $1 WHERE failed_at IS NOT NULL", now)
	if err != nil {
		return 0, fmt.Errorf("outbox: retrying failed rows: %w", err)
	}
	return result.RowsAffected()
}

func anys(ids []string) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
