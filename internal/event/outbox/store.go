package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

type row struct {
	id          string
	message     event.Message
	sealed      bool
	sealKey     string // the KeyID it was sealed with; empty: unknown, or not sealed
	batch       string // what it is one of many of; empty: it stands for itself
	createdAt   time.Time
	availableAt time.Time
	leaseUntil  time.Time
	attempts    int
	lastError   string
	unreadable  bool // its headers are not what insert stores
}

// rowsPerInsert is how many rows go into one statement: enough to make the round trip small beside the work, few enough
// for SQLite's driver, whose time grows with the square of the parameters.
func rowsPerInsert(d database.Dialect) int {
	if d == database.SQLite {
		return 25
	}
	return 100
}

// insert stores rows in one statement.
func insert(ctx context.Context, q database.Querier, rows []row) error {
	args := make([]any, 0, len(rows)*outboxColumns)
	for _, r := range rows {
		headers, err := json.Marshal(r.message.Headers)
		if err != nil {
			return err
		}
		m := r.message
		args = append(args, r.id, m.ID, m.Exchange, m.RoutingKey, m.ContentType, m.Mandatory, string(headers),
			m.Body, r.sealed, nullText(r.sealKey), nullText(r.batch), m.Timestamp, r.createdAt, r.availableAt)
	}
	_, err := q.ExecContext(ctx, `
		INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body,
			sealed, seal_key, batch_id, event_time, created_at, available_at)
		VALUES `+database.Rows(len(rows), outboxColumns), args...)
	return err
}

// outboxColumns is how many columns insert fills.
const outboxColumns = 14

func nullText(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// share is a part of the due rows, which is claimed apart from the others so that none waits behind another.
type share struct {
	of    string // the condition of an index
	limit int
	above position // rows up to here are passed over
}

// position is a place in the order in which rows are claimed. The zero position is before all.
type position struct {
	at time.Time
	id string
}

// The conditions of the three shares.
const (
	ofAlone    = "batch_id IS NULL AND (last_error IS NULL OR last_error <> '" + classRejected + "')"
	ofBatched  = "batch_id IS NOT NULL AND (last_error IS NULL OR last_error <> '" + classRejected + "')"
	ofRejected = "last_error = '" + classRejected + "'"
)

// claim leases due rows of each share, oldest first, which this process can open. Another relay passes over them until
// the lease ends.
func claim(ctx context.Context, db *database.DB, now time.Time, keyIDs []string, shares ...share) ([]row, error) {
	args := append([]any{now, now.Add(lease)}, anys(keyIDs)...)
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	keys := database.Placeholders(3, len(keyIDs))
	var parts, names []string
	for i, s := range shares {
		name := "share" + strconv.Itoa(i)
		names = append(names, "SELECT id FROM "+name)
		above := ""
		if s.above != (position{}) {
			above = " AND (available_at, id) > (" + arg(s.above.at.UTC()) + ", " + arg(s.above.id) + ")"
		}
		// MATERIALIZED: the planner must not run the locking subqueries more than once.
		parts = append(parts, name+` AS MATERIALIZED (
			SELECT id FROM outbox
			WHERE failed_at IS NULL AND `+s.of+` AND available_at <= $1`+above+`
				AND (lease_until IS NULL OR lease_until <= $1) AND (seal_key IS NULL OR seal_key IN (`+keys+`))
			ORDER BY available_at, id
			LIMIT `+arg(s.limit)+db.Dialect().ForUpdateSkipLocked()+")")
	}
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		WITH `+strings.Join(parts, ", ")+`
		UPDATE outbox SET lease_until = $2
		WHERE id IN (`+strings.Join(names, " UNION ALL ")+`)
		RETURNING id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed, seal_key, batch_id,
			event_time, created_at, available_at, lease_until, attempts, last_error`, args...)
	if err != nil {
		return nil, fmt.Errorf("outbox: claiming rows: %w", err)
	}
	claimed, err := scanRows(rows)
	if err != nil {
		return nil, fmt.Errorf("outbox: reading claimed rows: %w", err)
	}
	slices.SortFunc(claimed, func(a, b row) int {
		return cmp.Or(inTheWay(a)-inTheWay(b), a.availableAt.Compare(b.availableAt), cmp.Compare(a.id, b.id))
	})
	return claimed, nil
}

// inTheWay is 0 for a row that stands for itself and 1 for one of many, of whichever batch: those go last.
func inTheWay(r row) int {
	if r.batch == "" {
		return 0
	}
	return 1
}

func scanRows(rows *sql.Rows) (out []row, err error) {
	defer rows.Close()
	for rows.Next() {
		var r row
		var headers string
		var sealKey, batch, lastError sql.NullString
		m := &r.message
		if err := rows.Scan(&r.id, &m.ID, &m.Exchange, &m.RoutingKey, &m.ContentType, &m.Mandatory, &headers,
			&m.Body, &r.sealed, &sealKey, &batch, &m.Timestamp, &r.createdAt, &r.availableAt, &r.leaseUntil, &r.attempts,
			&lastError); err != nil {
			return nil, err
		}
		r.unreadable = json.Unmarshal([]byte(headers), &m.Headers) != nil
		r.sealKey, r.batch, r.lastError = sealKey.String, batch.String, lastError.String
		m.Alone = r.lastError == classRejected
		out = append(out, r)
	}
	return out, rows.Err()
}

// release gives rows of one claim back untouched, due at once: nothing was wrong with them. A row that another relay has
// leased meanwhile, because this process was stopped for longer than its own lease, is left to it.
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

// nextBatched returns when the next row that is one of many comes due, zero when there is none.
func nextBatched(ctx context.Context, db *database.DB, now time.Time) (time.Time, error) {
	var at time.Time
	err := db.Conn(ctx).QueryRowContext(ctx, `
		SELECT available_at FROM outbox
		WHERE failed_at IS NULL AND batch_id IS NOT NULL AND available_at > $1
		ORDER BY available_at LIMIT 1`, now).Scan(&at)
	if database.IsNotFound(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("outbox: looking for the next of a batch: %w", err)
	}
	return at, nil
}

// Withdraw deletes, in one statement, the rows of a batch that no relay has in hand, given-up ones included, and returns
// the ids of their events. It takes part in the transaction of ctx. One that was in hand before, and came back because
// the broker did not confirm it, may have left all the same: its receiver checks whether it still holds.
func Withdraw(ctx context.Context, db *database.DB, batch string, now time.Time) ([]string, error) {
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		DELETE FROM outbox WHERE batch_id = $1 AND (lease_until IS NULL OR lease_until <= $2)
		RETURNING event_id`, batch, now)
	if err != nil {
		return nil, fmt.Errorf("outbox: withdrawing batch %s: %w", batch, err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("outbox: withdrawing batch %s: %w", batch, err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("outbox: withdrawing batch %s: %w", batch, err)
	}
	return ids, nil
}

func anys(ids []string) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}
