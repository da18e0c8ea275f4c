package sqldb

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/database"
)

// Batches is an [invitation.BatchRepository] and an [invitation.OpenBatchRepository]. It is safe for concurrent use.
type Batches struct{ db *database.DB }

// NewBatches returns a repository on db.
func NewBatches(db *database.DB) *Batches { return &Batches{db} }

const batchColumns = `id, admin_id, idempotency_key, request_digest, locale, total, created_at, last_due_at, marked_at,
cancelled_at, completed_at`

// Create implements [invitation.BatchRepository]. It returns database.ErrNoTx outside a transaction.
func (r *Batches) Create(ctx context.Context, b invitation.Batch) (bool, error) {
	result, err := exec(ctx, r.db, "storing a batch", `INSERT INTO invitation_batches
(id, admin_id, idempotency_key, request_digest, locale, total, created_at, last_due_at, looked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7) ON CONFLICT DO NOTHING`,
		b.ID, b.AdminID, sql.NullString{String: b.IdempotencyKey, Valid: b.IdempotencyKey != ""}, b.RequestDigest, b.Locale,
		b.Total, truncate(b.CreatedAt), truncate(b.LastDueAt))
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, wrap("storing a batch", err)
}

// ByKey returns ErrBatchNotFound when the administrator has not used the key, also for an id that is no uuid.
func (r *Batches) ByKey(ctx context.Context, adminID, key string) (invitation.Batch, error) {
	id, err := uuid.Parse(adminID) // PostgreSQL would abort the transaction over one that is no uuid
	if err != nil {
		return invitation.Batch{}, invitation.ErrBatchNotFound
	}
	return scanBatch(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+batchColumns+
		" FROM invitation_batches WHERE admin_id = $1 AND idempotency_key = $2", id.String(), key))
}

// Lock returns ErrBatchNotFound when there is none, also for a text that is no id of ours, and database.ErrNoTx outside a
// transaction.
func (r *Batches) Lock(ctx context.Context, id string) (invitation.Batch, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return invitation.Batch{}, err
	}
	// Anything can stand in a path, and PostgreSQL would abort the transaction over a zero byte.
	if suffix, ok := strings.CutPrefix(id, "proj_"); !ok || uuid.Validate(suffix) != nil {
		return invitation.Batch{}, invitation.ErrBatchNotFound
	}
	return scanBatch(tx.QueryRowContext(ctx, "SELECT "+batchColumns+
		" FROM invitation_batches WHERE id = $1"+r.db.Dialect().ForUpdate(), id))
}

// Save stores the total and the times of b. It returns database.ErrNoTx outside a transaction.
func (r *Batches) Save(ctx context.Context, b invitation.Batch) error {
	_, err := exec(ctx, r.db, "changing a batch", `UPDATE invitation_batches
SET total = $2, last_due_at = $3, marked_at = $4, cancelled_at = $5, completed_at = $6 WHERE id = $1`,
		b.ID, b.Total, truncate(b.LastDueAt), nullTime(b.MarkedAt), nullTime(b.CancelledAt), nullTime(b.CompletedAt))
	return err
}

// SaveReport returns database.ErrNoTx outside a transaction.
func (r *Batches) SaveReport(ctx context.Context, batchID string, n int, part []byte) error {
	_, err := exec(ctx, r.db, "storing a report",
		"INSERT INTO invitation_reports (batch_id, part, data) VALUES ($1, $2, $3)", batchID, n, part)
	return err
}

// Report returns nil when there is no such part.
func (r *Batches) Report(ctx context.Context, batchID string, n int) (part []byte, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT data FROM invitation_reports WHERE batch_id = $1 AND part = $2",
		batchID, n).Scan(&part)
	if database.IsNotFound(err) {
		return nil, nil
	}
	return part, wrap("reading a report", err)
}

// ClaimOpen claims batches by a lease of idle.
func (r *Batches) ClaimOpen(
	ctx context.Context, now time.Time, idle time.Duration, limit int,
) ([]invitation.Batch, error) {
	// MATERIALIZED: the planner must not run the locking subquery more than once.
	rows, err := r.db.Conn(ctx).QueryContext(ctx, `WITH waiting AS MATERIALIZED (
SELECT id FROM invitation_batches WHERE completed_at IS NULL AND looked_at <= $2 ORDER BY looked_at LIMIT $3`+
		r.db.Dialect().ForUpdateSkipLocked()+`)
UPDATE invitation_batches SET looked_at = $1 WHERE id IN (SELECT id FROM waiting) RETURNING `+batchColumns,
		truncate(now), truncate(now.Add(-idle)), limit)
	if err != nil {
		return nil, wrap("claiming open batches", err)
	}
	return scanAll(rows, scanBatch)
}

// Marked stores MarkedAt.
func (r *Batches) Marked(ctx context.Context, id string, at time.Time) error {
	_, err := r.db.Conn(ctx).ExecContext(ctx, "UPDATE invitation_batches SET marked_at = $2 WHERE id = $1", id, truncate(at))
	return wrap("changing a batch", err)
}

// DueSince implements [invitation.OpenBatchRepository].
func (r *Batches) DueSince(ctx context.Context, since time.Time, after string, limit int) ([]invitation.Batch, error) {
	rows, err := r.db.Conn(ctx).QueryContext(ctx, "SELECT "+batchColumns+` FROM invitation_batches
WHERE id > $1 AND last_due_at > $2 AND total > 0 ORDER BY id LIMIT $3`, after, truncate(since), limit)
	if err != nil {
		return nil, wrap("reading batches", err)
	}
	return scanAll(rows, scanBatch)
}

func scanBatch(row scanner) (invitation.Batch, error) {
	var b invitation.Batch
	var key sql.NullString
	var marked, cancelled, completed sql.NullTime
	err := row.Scan(&b.ID, &b.AdminID, &key, &b.RequestDigest, &b.Locale, &b.Total, &b.CreatedAt, &b.LastDueAt, &marked,
		&cancelled, &completed)
	if database.IsNotFound(err) {
		return invitation.Batch{}, invitation.ErrBatchNotFound
	}
	if err != nil {
		return invitation.Batch{}, wrap("reading a batch", err)
	}
	b.IdempotencyKey = key.String
	b.CreatedAt = b.CreatedAt.UTC()
	b.LastDueAt = b.LastDueAt.UTC()
	b.MarkedAt = zeroTime(marked)
	b.CancelledAt = zeroTime(cancelled)
	b.CompletedAt = zeroTime(completed)
	return b, nil
}
