package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/database"
)

// Invitations is an [invitation.Repository], [invitation.EventFinder], [invitation.Pager] and
// [invitation.PurgeRepository]. It is safe for concurrent use.
type Invitations struct{ db *database.DB }

// NewInvitations returns a repository on db.
func NewInvitations(db *database.DB) *Invitations { return &Invitations{db} }

const invitationColumns = "id, batch_id, user_id, event_id, digest, created_at, expires_at, accepted_at, cancelled_at"

// Create returns database.ErrNoTx outside a transaction.
func (r *Invitations) Create(ctx context.Context, invitations []invitation.Invitation) error {
	const columns = 7
	for chunk := range slices.Chunk(invitations, rowsPer(r.db.Dialect())) {
		args := make([]any, 0, len(chunk)*columns)
		for _, i := range chunk {
			args = append(args, i.ID, i.BatchID, i.UserID, i.EventID, i.Digest, truncate(i.CreatedAt), truncate(i.ExpiresAt))
		}
		_, err := exec(ctx, r.db, "storing invitations", `INSERT INTO invitations
(id, batch_id, user_id, event_id, digest, created_at, expires_at) VALUES `+database.Rows(len(chunk), columns), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// ByDigest returns ErrNotFound when there is none.
func (r *Invitations) ByDigest(ctx context.Context, digest []byte) (invitation.Invitation, error) {
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE digest = $1", digest))
}

// LockByDigest returns ErrNotFound when there is none, and database.ErrNoTx outside a transaction.
func (r *Invitations) LockByDigest(ctx context.Context, digest []byte) (invitation.Invitation, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return invitation.Invitation{}, err
	}
	return scanInvitation(tx.QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE digest = $1"+r.db.Dialect().ForUpdate(), digest))
}

// ByEvent returns ErrNotFound when there is none.
func (r *Invitations) ByEvent(ctx context.Context, eventID string) (invitation.Invitation, error) {
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE event_id = $1", eventID))
}

// Save stores AcceptedAt. It returns database.ErrNoTx outside a transaction.
func (r *Invitations) Save(ctx context.Context, i invitation.Invitation) error {
	_, err := exec(ctx, r.db, "changing an invitation",
		"UPDATE invitations SET accepted_at = $2 WHERE id = $1", i.ID, nullTime(i.AcceptedAt))
	return err
}

// Cancel returns database.ErrNoTx outside a transaction.
func (r *Invitations) Cancel(ctx context.Context, eventIDs []string, now time.Time) ([]invitation.Invitation, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	var cancelled []invitation.Invitation
	for chunk := range slices.Chunk(eventIDs, rowsPer(r.db.Dialect())) {
		args := []any{truncate(now)}
		for _, id := range chunk {
			args = append(args, id)
		}
		// No index fits a CASE, on purpose: PostgreSQL knows nothing yet about the rows of a fresh batch, expects one that
		// is open, and would compare all of them with every id of the list.
		rows, err := tx.QueryContext(ctx, `UPDATE invitations SET cancelled_at = $1
WHERE CASE WHEN accepted_at IS NULL AND cancelled_at IS NULL THEN 1 ELSE 0 END = 1
AND event_id IN (`+database.Placeholders(2, len(chunk))+") RETURNING "+invitationColumns, args...)
		if err != nil {
			return nil, wrap("cancelling invitations", err)
		}
		some, err := scanAll(rows, scanInvitation)
		if err != nil {
			return nil, err
		}
		cancelled = append(cancelled, some...)
	}
	return cancelled, nil
}

// CountCancelled implements [invitation.Repository].
func (r *Invitations) CountCancelled(ctx context.Context, batchID string) (n int64, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx,
		"SELECT count(*) FROM invitations WHERE batch_id = $1 AND cancelled_at IS NOT NULL", batchID).Scan(&n)
	return n, wrap("counting cancelled invitations", err)
}

// Page implements [invitation.Pager]; after is empty for the first page.
func (r *Invitations) Page(
	ctx context.Context, batchID, after string, limit int,
) ([]invitation.Invitation, error) {
	return r.page(ctx, "batch_id = $1 AND id > $2 ORDER BY batch_id, id LIMIT $3", batchID, after, limit)
}

// ExpiredPage implements [invitation.PurgeRepository]; after is empty for the first page.
func (r *Invitations) ExpiredPage(
	ctx context.Context, now time.Time, after string, limit int,
) ([]invitation.Invitation, error) {
	return r.page(ctx, "expires_at <= $1 AND accepted_at IS NULL AND id > $2 ORDER BY id LIMIT $3", truncate(now), after, limit)
}

// OldPage implements [invitation.PurgeRepository]; after is empty for the first page.
func (r *Invitations) OldPage(
	ctx context.Context, then time.Time, after string, limit int,
) ([]invitation.Invitation, error) {
	return r.page(ctx, `batch_id IN (SELECT id FROM invitation_batches WHERE last_due_at < $1)
AND id > $2 ORDER BY id LIMIT $3`, truncate(then), after, limit)
}

func (r *Invitations) page(
	ctx context.Context, where string, arg any, after string, limit int,
) ([]invitation.Invitation, error) {
	if after == "" {
		after = uuid.Nil.String() // below every id of ours, and a uuid to PostgreSQL
	}
	rows, err := r.db.Conn(ctx).QueryContext(ctx,
		"SELECT "+invitationColumns+" FROM invitations WHERE "+where, arg, after, limit)
	if err != nil {
		return nil, wrap("reading invitations", err)
	}
	return scanAll(rows, scanInvitation)
}

// DeleteOld implements [invitation.PurgeRepository]. Invitations and reports go with their batch.
func (r *Invitations) DeleteOld(ctx context.Context, then time.Time) (int64, error) {
	result, err := r.db.Conn(ctx).ExecContext(ctx, "DELETE FROM invitation_batches WHERE last_due_at < $1", truncate(then))
	if err != nil {
		return 0, wrap("deleting old batches", err)
	}
	return result.RowsAffected()
}

func scanInvitation(row scanner) (invitation.Invitation, error) {
	var i invitation.Invitation
	var accepted, cancelled sql.NullTime
	err := row.Scan(&i.ID, &i.BatchID, &i.UserID, &i.EventID, &i.Digest, &i.CreatedAt, &i.ExpiresAt, &accepted, &cancelled)
	if database.IsNotFound(err) {
		return invitation.Invitation{}, invitation.ErrNotFound
	}
	if err != nil {
		return invitation.Invitation{}, wrap("reading an invitation", err)
	}
	i.CreatedAt = i.CreatedAt.UTC()
	i.ExpiresAt = i.ExpiresAt.UTC()
	i.AcceptedAt = zeroTime(accepted)
	i.CancelledAt = zeroTime(cancelled)
	return i, nil
}
