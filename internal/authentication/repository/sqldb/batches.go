package sqldb

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Batches is an authentication.BatchRepository. Safe for concurrent use.
type Batches struct{ db *database.DB }

// NewBatches answers a repository on db.
func NewBatches(db *database.DB) *Batches { return &Batches{db} }

const batchColumns = `id, admin_id, idempotency_key, request_digest, locale, total, created_at, last_due_at, marked_at,
cancelled_at, completed_at`

// Create answers false when the administrator has used the key before; database.ErrNoTx outside a transaction.
func (r *Batches) Create(ctx context.Context, b authentication.Batch) (bool, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO invitation_batches
(id, admin_id, idempotency_key, request_digest, locale, total, created_at, last_due_at, looked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7) ON CONFLICT DO NOTHING`,
		b.ID, b.AdminID, nullable(b.IdempotencyKey), b.RequestDigest, b.Locale, b.Total, stored(b.CreatedAt), stored(b.LastDueAt))
	if err != nil {
		return false, wrap("storing a batch", err)
	}
	n, err := result.RowsAffected()
	return n == 1, wrap("storing a batch", err)
}

// ByKey answers ErrBatchNotFound when the administrator has not used the key, also for an id that is no uuid.
func (r *Batches) ByKey(ctx context.Context, adminID, key string) (authentication.Batch, error) {
	adminID, ok := canonical(adminID)
	if !ok {
		return authentication.Batch{}, authentication.ErrBatchNotFound
	}
	return scanBatch(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+batchColumns+
		" FROM invitation_batches WHERE admin_id = $1 AND idempotency_key = $2", adminID, key))
}

// Lock answers ErrBatchNotFound when there is none, also for an id that none of ours can be, and database.ErrNoTx outside a
// transaction.
func (r *Batches) Lock(ctx context.Context, id string) (authentication.Batch, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.Batch{}, err
	}
	// Anything can stand in a path, and PostgreSQL would abort the transaction over a zero byte.
	if suffix, ok := strings.CutPrefix(id, "proj_"); !ok || uuid.Validate(suffix) != nil {
		return authentication.Batch{}, authentication.ErrBatchNotFound
	}
	return scanBatch(tx.QueryRowContext(ctx, "SELECT "+batchColumns+
		" FROM invitation_batches WHERE id = $1"+r.db.Dialect().ForUpdate(), id))
}

// Save stores b's total and times; database.ErrNoTx outside a transaction.
func (r *Batches) Save(ctx context.Context, b authentication.Batch) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE invitation_batches
SET total = $2, last_due_at = $3, marked_at = $4, cancelled_at = $5, completed_at = $6 WHERE id = $1`,
		b.ID, b.Total, stored(b.LastDueAt), optional(b.MarkedAt), optional(b.CancelledAt), optional(b.CompletedAt))
	return wrap("changing a batch", err)
}

// LastDue answers the zero time when there is no batch.
func (r *Batches) LastDue(ctx context.Context) (time.Time, error) {
	var at time.Time
	// Not max(): of SQLite that is a text.
	err := r.db.Conn(ctx).QueryRowContext(ctx,
		"SELECT last_due_at FROM invitation_batches ORDER BY last_due_at DESC LIMIT 1").Scan(&at)
	if database.IsNotFound(err) {
		return time.Time{}, nil
	}
	return at.UTC(), wrap("looking for the last mail of all batches", err)
}

// SaveReport answers database.ErrNoTx outside a transaction.
func (r *Batches) SaveReport(ctx context.Context, batchID string, n int, part []byte) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO invitation_reports (batch_id, part, data) VALUES ($1, $2, $3)", batchID, n, part)
	return wrap("storing a report", err)
}

// Report answers nil when there is no such part.
func (r *Batches) Report(ctx context.Context, batchID string, n int) (part []byte, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT data FROM invitation_reports WHERE batch_id = $1 AND part = $2",
		batchID, n).Scan(&part)
	if database.IsNotFound(err) {
		return nil, nil
	}
	return part, wrap("reading a report", err)
}

// TakeOpen takes batches by a lease of idle.
func (r *Batches) TakeOpen(ctx context.Context, now time.Time, idle time.Duration, limit int) ([]authentication.Batch, error) {
	// MATERIALIZED: the planner must not run the locking subquery more than once.
	rows, err := r.db.Conn(ctx).QueryContext(ctx, `WITH waiting AS MATERIALIZED (
SELECT id FROM invitation_batches WHERE completed_at IS NULL AND looked_at <= $2 ORDER BY looked_at LIMIT $3`+
		r.db.Dialect().ForUpdateSkipLocked()+`)
UPDATE invitation_batches SET looked_at = $1 WHERE id IN (SELECT id FROM waiting) RETURNING `+batchColumns,
		stored(now), stored(now.Add(-idle)), limit)
	if err != nil {
		return nil, wrap("taking open batches", err)
	}
	return scanBatches(rows)
}

// Marked stores at as MarkedAt.
func (r *Batches) Marked(ctx context.Context, id string, at time.Time) error {
	_, err := r.db.Conn(ctx).ExecContext(ctx, "UPDATE invitation_batches SET marked_at = $2 WHERE id = $1", id, stored(at))
	return wrap("changing a batch", err)
}

// DueSince answers batches with invitations, in the order of their ids.
func (r *Batches) DueSince(ctx context.Context, since time.Time, after string, limit int) ([]authentication.Batch, error) {
	rows, err := r.db.Conn(ctx).QueryContext(ctx, "SELECT "+batchColumns+` FROM invitation_batches
WHERE id > $1 AND last_due_at > $2 AND total > 0 ORDER BY id LIMIT $3`, after, stored(since), limit)
	if err != nil {
		return nil, wrap("reading batches", err)
	}
	return scanBatches(rows)
}

// PurgeOlderThan deletes batches whose last mail was due before then, with their invitations and reports, and answers how
// many. Of people who were invited, never came and are deleted by now nothing stays, their addresses least of all.
func (r *Batches) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	_, err := r.db.Conn(ctx).ExecContext(ctx, `DELETE FROM users
WHERE CASE WHEN deleted_at IS NOT NULL AND is_active IS NOT TRUE AND COALESCE(password_hash, '') = '' THEN 1 ELSE 0 END = 1
AND id IN (SELECT user_id FROM invitations WHERE batch_id IN (SELECT id FROM invitation_batches WHERE last_due_at < $1))`, stored(then))
	if err != nil {
		return 0, wrap("deleting those who never came", err)
	}
	result, err := r.db.Conn(ctx).ExecContext(ctx, "DELETE FROM invitation_batches WHERE last_due_at < $1", stored(then))
	if err != nil {
		return 0, wrap("deleting old batches", err)
	}
	return result.RowsAffected()
}

func scanBatches(rows *sql.Rows) ([]authentication.Batch, error) {
	defer rows.Close()
	var batches []authentication.Batch
	for rows.Next() {
		b, err := scanBatch(rows)
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return batches, wrap("reading batches", rows.Err())
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

func scanBatch(row scanner) (authentication.Batch, error) {
	var b authentication.Batch
	var key sql.NullString
	var marked, cancelled, completed sql.NullTime
	err := row.Scan(&b.ID, &b.AdminID, &key, &b.RequestDigest, &b.Locale, &b.Total, &b.CreatedAt, &b.LastDueAt, &marked,
		&cancelled, &completed)
	if database.IsNotFound(err) {
		return authentication.Batch{}, authentication.ErrBatchNotFound
	}
	if err != nil {
		return authentication.Batch{}, wrap("reading a batch", err)
	}
	b.IdempotencyKey = key.String
	b.CreatedAt, b.LastDueAt = b.CreatedAt.UTC(), b.LastDueAt.UTC()
	b.MarkedAt, b.CancelledAt, b.CompletedAt = given(marked), given(cancelled), given(completed)
	return b, nil
}

// optional is a time that is NULL while it is zero.
func optional(t time.Time) sql.NullTime { return sql.NullTime{Time: stored(t), Valid: !t.IsZero()} }

// given is optional read back.
func given(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}
