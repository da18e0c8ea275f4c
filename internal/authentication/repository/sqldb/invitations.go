package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Invitations is an authentication.InvitationRepository. Safe for concurrent use.
type Invitations struct{ db *database.DB }

// NewInvitations answers a repository on db.
func NewInvitations(db *database.DB) *Invitations { return &Invitations{db} }

const invitationColumns = "id, batch_id, user_id, event_id, digest, created_at, expires_at, accepted_at, cancelled_at"

// rowsPer is how many rows go into one statement: on PostgreSQL so many that the round trip is small beside the work, on
// SQLite fewer, because its driver's time grows with the square of the parameters.
func rowsPer(d database.Dialect) int {
	if d == database.SQLite {
		return 20
	}
	return 500
}

// Create answers database.ErrNoTx outside a transaction.
func (r *Invitations) Create(ctx context.Context, invitations []authentication.Invitation) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	const columns = 7
	for chunk := range slices.Chunk(invitations, rowsPer(r.db.Dialect())) {
		args := make([]any, 0, len(chunk)*columns)
		for _, i := range chunk {
			args = append(args, i.ID, i.BatchID, i.UserID, i.EventID, i.Digest, stored(i.CreatedAt), stored(i.ExpiresAt))
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO invitations (id, batch_id, user_id, event_id, digest, created_at, expires_at) VALUES "+
			database.Rows(len(chunk), columns), args...)
		if err != nil {
			return wrap("storing invitations", err)
		}
	}
	return nil
}

// ByDigest answers ErrInvitationNotFound when there is none.
func (r *Invitations) ByDigest(ctx context.Context, digest []byte) (authentication.Invitation, error) {
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE digest = $1", digest))
}

// LockByDigest answers ErrInvitationNotFound when there is none, and database.ErrNoTx outside a transaction.
func (r *Invitations) LockByDigest(ctx context.Context, digest []byte) (authentication.Invitation, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.Invitation{}, err
	}
	return scanInvitation(tx.QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE digest = $1"+r.db.Dialect().ForUpdate(), digest))
}

// ByEvent answers ErrInvitationNotFound when there is none.
func (r *Invitations) ByEvent(ctx context.Context, eventID string) (authentication.Invitation, error) {
	return scanInvitation(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE event_id = $1", eventID))
}

// Save stores AcceptedAt; database.ErrNoTx outside a transaction.
func (r *Invitations) Save(ctx context.Context, i authentication.Invitation) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE invitations SET accepted_at = $2 WHERE id = $1", i.ID, optional(i.AcceptedAt))
	return wrap("changing an invitation", err)
}

// Cancel answers database.ErrNoTx outside a transaction.
func (r *Invitations) Cancel(ctx context.Context, eventIDs []string, now time.Time) ([]authentication.Invitation, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	var cancelled []authentication.Invitation
	for chunk := range slices.Chunk(eventIDs, rowsPer(r.db.Dialect())) {
		// A join, not IN: PostgreSQL may know nothing yet about the rows of a fresh batch, and would compare each of them with
		// every id of the list.
		rows, err := tx.QueryContext(ctx, `UPDATE invitations SET cancelled_at = $1
FROM (VALUES `+valueRows(2, len(chunk))+`) AS ours WHERE event_id = ours.column1 AND accepted_at IS NULL AND cancelled_at IS NULL
RETURNING `+invitationColumns, prepend(stored(now), chunk)...)
		if err != nil {
			return nil, wrap("cancelling invitations", err)
		}
		some, err := scanInvitations(rows)
		if err != nil {
			return nil, err
		}
		cancelled = append(cancelled, some...)
	}
	return cancelled, nil
}

// Cancelled counts.
func (r *Invitations) Cancelled(ctx context.Context, batchID string) (n int64, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx,
		"SELECT count(*) FROM invitations WHERE batch_id = $1 AND cancelled_at IS NOT NULL", batchID).Scan(&n)
	return n, wrap("counting cancelled invitations", err)
}

// Page answers invitations in the order of their ids; after is "" for the first page.
func (r *Invitations) Page(ctx context.Context, batchID, after string, limit int) ([]authentication.Invitation, error) {
	if after == "" {
		after = nobody // below every id of ours, and a uuid to PostgreSQL
	}
	rows, err := r.db.Conn(ctx).QueryContext(ctx, "SELECT "+invitationColumns+
		" FROM invitations WHERE batch_id = $1 AND id > $2 ORDER BY batch_id, id LIMIT $3", batchID, after, limit)
	if err != nil {
		return nil, wrap("reading invitations", err)
	}
	return scanInvitations(rows)
}

const nobody = "00000000-0000-0000-0000-000000000000"

// PurgeExpired deletes users who were invited, let the invitation expire and never set a password: their addresses are
// free again. It answers how many. Somebody who was invited has no other invitation: his address is taken to the next.
func (r *Invitations) PurgeExpired(ctx context.Context, now time.Time) (int64, error) {
	result, err := r.db.Conn(ctx).ExecContext(ctx, "UPDATE users SET deleted_at = $1, updated_at = $1 WHERE "+invited+
		" AND id IN (SELECT user_id FROM invitations WHERE expires_at <= $1 AND accepted_at IS NULL)", stored(now))
	if err != nil {
		return 0, wrap("deleting users whose invitation has expired", err)
	}
	return result.RowsAffected()
}

func scanInvitations(rows *sql.Rows) ([]authentication.Invitation, error) {
	defer rows.Close()
	var invitations []authentication.Invitation
	for rows.Next() {
		i, err := scanInvitation(rows)
		if err != nil {
			return nil, err
		}
		invitations = append(invitations, i)
	}
	return invitations, wrap("reading invitations", rows.Err())
}

func scanInvitation(row scanner) (authentication.Invitation, error) {
	var i authentication.Invitation
	var accepted, cancelled sql.NullTime
	err := row.Scan(&i.ID, &i.BatchID, &i.UserID, &i.EventID, &i.Digest, &i.CreatedAt, &i.ExpiresAt, &accepted, &cancelled)
	if database.IsNotFound(err) {
		return authentication.Invitation{}, authentication.ErrInvitationNotFound
	}
	if err != nil {
		return authentication.Invitation{}, wrap("reading an invitation", err)
	}
	i.CreatedAt, i.ExpiresAt = i.CreatedAt.UTC(), i.ExpiresAt.UTC()
	i.AcceptedAt, i.CancelledAt = given(accepted), given(cancelled)
	return i, nil
}

// valueRows answers "($first), ($first+1), …" for n rows of one column.
func valueRows(first, n int) string {
	return "(" + strings.ReplaceAll(database.Placeholders(first, n), ", ", "), (") + ")"
}

// prepend answers first and then values, as arguments of a statement.
func prepend(first any, values []string) []any {
	args := make([]any, 0, 1+len(values))
	args = append(args, first)
	for _, v := range values {
		args = append(args, v)
	}
	return args
}
