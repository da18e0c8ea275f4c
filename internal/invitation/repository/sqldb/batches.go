// Package sqldb stores batches, their invitations and the pace of their mails in PostgreSQL or SQLite.
//
// Every method takes part in the transaction of its context, and uses its own tables only: accounts are another
// package's. What an id cannot be is not found, rather than an error of the database.
package sqldb

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/database"
)

// Batches is an [invitation.BatchRepository], an [invitation.OpenBatchRepository] and an [invitation.ErasureRepository].
// It is safe for concurrent use.
type Batches struct{ db *database.DB }

// NewBatches returns a repository on db.
func NewBatches(db *database.DB) *Batches { return &Batches{db} }

const batchColumns = `id, admin_id, COALESCE(idempotency_key, ''), request_digest, locale, total, created_at, last_due_at, marked_at,
cancelled_at, completed_at`

// Create implements [invitation.BatchRepository]. It returns database.ErrNoTx outside a transaction.
func (r *Batches) Create(ctx context.Context, b invitation.Batch) (bool, error) {
	n, err := r.db.ExecTx(ctx, "invitation: storing a batch", `INSERT INTO invitation_batches
(id, admin_id, idempotency_key, request_digest, locale, total, created_at, last_due_at, looked_at)
VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7, $8, $7) ON CONFLICT DO NOTHING`,
		b.ID, b.AdminID, b.IdempotencyKey, b.RequestDigest, b.Locale, b.Total,
		database.Truncate(b.CreatedAt), database.Truncate(b.LastDueAt))
	return n == 1, err
}

// ByKey returns ErrBatchNotFound when the administrator has not used the key, also for an id that is no uuid.
func (r *Batches) ByKey(ctx context.Context, adminID, key string) (invitation.Batch, error) {
	return scanBatch(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+batchColumns+
		" FROM invitation_batches WHERE admin_id = $1 AND idempotency_key = $2", database.UUID(adminID), key))
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
	_, err := r.db.ExecTx(ctx, "invitation: changing a batch", `UPDATE invitation_batches
SET total = $2, last_due_at = $3, marked_at = $4, cancelled_at = $5, completed_at = $6 WHERE id = $1`,
		b.ID, b.Total, database.Truncate(b.LastDueAt),
		database.NullTime(b.MarkedAt), database.NullTime(b.CancelledAt), database.NullTime(b.CompletedAt))
	return err
}

// SaveReport returns database.ErrNoTx outside a transaction.
func (r *Batches) SaveReport(ctx context.Context, batchID string, n int, part []byte) error {
	_, err := r.db.ExecTx(ctx, "invitation: storing a report",
		"INSERT INTO invitation_reports (batch_id, part, data) VALUES ($1, $2, $3)", batchID, n, part)
	return err
}

// Report returns nil when there is no such part.
func (r *Batches) Report(ctx context.Context, batchID string, n int) (part []byte, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT data FROM invitation_reports WHERE batch_id = $1 AND part = $2",
		batchID, n).Scan(&part)
	return part, database.WrapRow("invitation: reading a report", err, nil)
}

// EraseUser implements [invitation.ErasureRepository]. It returns database.ErrNoTx outside a transaction.
func (r *Batches) EraseUser(ctx context.Context, userID, email string, then time.Time) error {
	const theirs = `(admin_id = $1 OR created_at < $3 AND replace(lower(idempotency_key), lower($2), '') <> lower(idempotency_key))`
	_, err := r.db.ExecTx(ctx, "invitation: erasing what is known of a user", `UPDATE invitation_batches SET request_digest = NULL,
	idempotency_key = CASE WHEN `+theirs+` THEN NULL ELSE idempotency_key END
WHERE `+theirs+` OR id IN (SELECT batch_id FROM invitations WHERE user_id = $1)`, database.UUID(userID), email, database.Truncate(then))
	return err
}

// ReportedBefore returns the ids of batches in their order, in which they were uploaded.
func (r *Batches) ReportedBefore(ctx context.Context, then time.Time) ([]string, error) {
	return database.All(ctx, r.db, "invitation: looking for reports", database.Text, `SELECT id FROM invitation_batches b
WHERE created_at < $1 AND EXISTS (SELECT 1 FROM invitation_reports WHERE batch_id = b.id) ORDER BY id`, database.Truncate(then))
}

// DeleteReport returns database.ErrNoTx outside a transaction.
func (r *Batches) DeleteReport(ctx context.Context, batchID string) error {
	_, err := r.db.ExecTx(ctx, "invitation: deleting a report", "DELETE FROM invitation_reports WHERE batch_id = $1", batchID)
	return err
}

// ClaimOpen claims batches by a lease of idle.
func (r *Batches) ClaimOpen(
	ctx context.Context, now time.Time, idle time.Duration, limit int,
) ([]invitation.Batch, error) {
	// MATERIALIZED: the planner must not run the locking subquery more than once.
	return database.All(ctx, r.db, "invitation: claiming open batches", scanBatch, `WITH waiting AS MATERIALIZED (
SELECT id FROM invitation_batches WHERE completed_at IS NULL AND looked_at <= $2 ORDER BY looked_at LIMIT $3`+
		r.db.Dialect().ForUpdateSkipLocked()+`)
UPDATE invitation_batches SET looked_at = $1 WHERE id IN (SELECT id FROM waiting) RETURNING `+batchColumns,
		database.Truncate(now), database.Truncate(now.Add(-idle)), limit)
}

// Marked stores MarkedAt.
func (r *Batches) Marked(ctx context.Context, id string, at time.Time) error {
	_, err := r.db.Exec(ctx, "invitation: changing a batch",
		"UPDATE invitation_batches SET marked_at = $2 WHERE id = $1", id, database.Truncate(at))
	return err
}

// DueSince implements [invitation.OpenBatchRepository].
func (r *Batches) DueSince(ctx context.Context, since time.Time, after string, limit int) ([]invitation.Batch, error) {
	return database.All(ctx, r.db, "invitation: reading batches", scanBatch,
		"SELECT "+batchColumns+` FROM invitation_batches
WHERE id > $1 AND last_due_at > $2 AND total > 0 ORDER BY id LIMIT $3`, after, database.Truncate(since), limit)
}

func scanBatch(row database.Row) (b invitation.Batch, err error) {
	err = row.Scan(&b.ID, &b.AdminID, &b.IdempotencyKey, &b.RequestDigest, &b.Locale, &b.Total,
		database.UTC(&b.CreatedAt), database.UTC(&b.LastDueAt), database.UTC(&b.MarkedAt),
		database.UTC(&b.CancelledAt), database.UTC(&b.CompletedAt))
	return b, database.WrapRow("invitation: reading a batch", err, invitation.ErrBatchNotFound)
}

// states are the conditions of what batches are selected by.
var states = map[string]string{
	"":          "TRUE",
	"open":      "completed_at IS NULL AND cancelled_at IS NULL",
	"completed": "completed_at IS NOT NULL",
	"cancelled": "cancelled_at IS NOT NULL",
}

// List returns up to limit batches in a state (open, completed, cancelled or "" for all), the newest first, behind the one
// with the id after; "" is before the first. There is none in another state.
func (r *Batches) List(ctx context.Context, state, after string, limit int) ([]invitation.Batch, error) {
	condition, ok := states[state]
	if !ok {
		return nil, nil
	}
	return database.All(ctx, r.db, "invitation: reading batches", scanBatch,
		"SELECT "+batchColumns+" FROM invitation_batches WHERE ($1 = '' OR id < $1) AND "+condition+" ORDER BY id DESC LIMIT $2", after, limit)
}

// ByID returns ErrBatchNotFound when there is none, also for a text that is no id of ours.
func (r *Batches) ByID(ctx context.Context, id string) (invitation.Batch, error) {
	if suffix, ok := strings.CutPrefix(id, "proj_"); !ok || uuid.Validate(suffix) != nil {
		return invitation.Batch{}, invitation.ErrBatchNotFound
	}
	return scanBatch(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+batchColumns+" FROM invitation_batches WHERE id = $1", id))
}
