package sqldb

import (
	"context"
	"slices"
	"time"

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
	for chunk := range slices.Chunk(invitations, r.db.Dialect().RowsPer()) {
		args := make([]any, 0, len(chunk)*columns)
		for _, i := range chunk {
			args = append(args, i.ID, i.BatchID, i.UserID, i.EventID, i.Digest,
				database.Truncate(i.CreatedAt), database.Truncate(i.ExpiresAt))
		}
		_, err := r.db.ExecTx(ctx, "invitation: storing invitations", `INSERT INTO invitations
(id, batch_id, user_id, event_id, digest, created_at, expires_at) VALUES `+database.Rows(len(chunk), columns), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// ByDigest finds an invitation by one of the digests. It returns ErrNotFound when there is none.
func (r *Invitations) ByDigest(ctx context.Context, digests ...[]byte) (invitation.Invitation, error) {
	where, args := whereDigest(digests)
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE "+where, args...))
}

// OfUser returns the invitations of an account, the newest first.
func (r *Invitations) OfUser(ctx context.Context, userID string) ([]invitation.Invitation, error) {
	return database.All(ctx, r.db, "invitation: reading those of an account", scanInvitation, "SELECT "+invitationColumns+
		" FROM invitations WHERE user_id = $1 ORDER BY created_at DESC, id DESC", database.UUID(userID))
}

// LockByDigest returns ErrNotFound when there is none, and database.ErrNoTx outside a transaction.
func (r *Invitations) LockByDigest(ctx context.Context, digests ...[]byte) (invitation.Invitation, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return invitation.Invitation{}, err
	}
	where, args := whereDigest(digests)
	return scanInvitation(tx.QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE "+where+r.db.Dialect().ForUpdate(), args...))
}

// whereDigest finds what one token is stored as.
func whereDigest(digests [][]byte) (where string, args []any) {
	for _, digest := range digests {
		args = append(args, digest)
	}
	return "digest IN (" + database.Placeholders(1, len(args)) + ")", args
}

// ByEvent returns ErrNotFound when there is none.
func (r *Invitations) ByEvent(ctx context.Context, eventID string) (invitation.Invitation, error) {
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE event_id = $1", eventID))
}

// Save stores AcceptedAt. It returns database.ErrNoTx outside a transaction.
func (r *Invitations) Save(ctx context.Context, i invitation.Invitation) error {
	_, err := r.db.ExecTx(ctx, "invitation: changing an invitation",
		"UPDATE invitations SET accepted_at = $2 WHERE id = $1", i.ID, database.NullTime(i.AcceptedAt))
	return err
}

// Cancel returns database.ErrNoTx outside a transaction.
func (r *Invitations) Cancel(
	ctx context.Context, eventIDs []string, now time.Time,
) (cancelled []invitation.Invitation, err error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(eventIDs, r.db.Dialect().RowsPer()) {
		args, in := database.In(chunk, database.Truncate(now))
		// No index fits a CASE, on purpose: PostgreSQL knows nothing yet about the rows of a fresh batch, expects one that
		// is open, and would compare all of them with every id of the list.
		some, err := database.All(ctx, r.db, "invitation: cancelling invitations", scanInvitation,
			`UPDATE invitations SET cancelled_at = $1
WHERE CASE WHEN accepted_at IS NULL AND cancelled_at IS NULL THEN 1 ELSE 0 END = 1
AND event_id IN (`+in+") RETURNING "+invitationColumns, args...)
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
	return n, database.Wrap("invitation: counting cancelled invitations", err)
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
	return r.page(ctx, "expires_at <= $1 AND accepted_at IS NULL AND id > $2 ORDER BY id LIMIT $3",
		database.Truncate(now), after, limit)
}

// OldPage implements [invitation.PurgeRepository]; after is empty for the first page.
func (r *Invitations) OldPage(
	ctx context.Context, then time.Time, after string, limit int,
) ([]invitation.Invitation, error) {
	return r.page(ctx, `batch_id IN (SELECT id FROM invitation_batches WHERE last_due_at < $1)
AND id > $2 ORDER BY id LIMIT $3`, database.Truncate(then), after, limit)
}

func (r *Invitations) page(
	ctx context.Context, where string, arg any, after string, limit int,
) ([]invitation.Invitation, error) {
	// after: the empty one becomes an id below every other.
	return database.All(ctx, r.db, "invitation: reading invitations", scanInvitation,
		"SELECT "+invitationColumns+" FROM invitations WHERE "+where, arg, database.UUID(after), limit)
}

// DeleteOld implements [invitation.PurgeRepository]. Invitations and reports go with their batch.
func (r *Invitations) DeleteOld(ctx context.Context, then time.Time, keep []string) (int64, error) {
	args, in := database.In(append(keep, ""), database.Truncate(then)) // no id is empty, and a list must not be
	return r.db.Exec(ctx, "invitation: deleting old batches",
		"DELETE FROM invitation_batches WHERE last_due_at < $1 AND id NOT IN ("+in+")", args...)
}

func scanInvitation(row database.Row) (i invitation.Invitation, err error) {
	err = row.Scan(&i.ID, &i.BatchID, &i.UserID, &i.EventID, &i.Digest, database.UTC(&i.CreatedAt),
		database.UTC(&i.ExpiresAt), database.UTC(&i.AcceptedAt), database.UTC(&i.CancelledAt))
	return i, database.WrapRow("invitation: reading an invitation", err, invitation.ErrNotFound)
}
