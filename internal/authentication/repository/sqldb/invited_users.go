package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// invited is authentication.User.Invited of a live row. A row of the previous release can have NULL or "" where nothing is.
// It is written so that no index fits: right after many were invited PostgreSQL takes the living for few, and would compare
// each of them with each invitation.
const invited = `CASE WHEN deleted_at IS NULL AND is_active IS NOT TRUE AND COALESCE(password_hash, '') = '' THEN 1 ELSE 0 END = 1`

// LockByID answers ErrUserNotFound when there is none, also for an id that is no uuid, and database.ErrNoTx outside a
// transaction.
func (r *Users) LockByID(ctx context.Context, id string) (authentication.User, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.User{}, err
	}
	id, ok := canonical(id)
	if !ok {
		return authentication.User{}, authentication.ErrUserNotFound
	}
	return scanUser(tx.QueryRowContext(ctx, selectUser+"id = $1"+r.db.Dialect().ForUpdate(), id))
}

// Invite answers the addresses of the users it created; database.ErrNoTx outside a transaction.
func (r *Users) Invite(ctx context.Context, users []authentication.User) ([]string, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	const columns = 6
	created := make([]string, 0, len(users))
	for chunk := range slices.Chunk(users, rowsPer(r.db.Dialect())) {
		args := make([]any, 0, len(chunk)*columns)
		for _, u := range chunk {
			args = append(args, u.ID, u.Email, roleHash(u.Role), false, stored(u.CreatedAt), stored(u.UpdatedAt))
		}
		rows, err := tx.QueryContext(ctx, "INSERT INTO users (id, username, role_hash, is_active, created_at, updated_at) VALUES "+
			database.Rows(len(chunk), columns)+" ON CONFLICT DO NOTHING RETURNING username", args...)
		if err != nil {
			return nil, wrap("creating invited users", err)
		}
		created, err = scanTexts(rows, created)
		if err != nil {
			return nil, wrap("creating invited users", err)
		}
	}
	return created, nil
}

// Uninvite deletes as the previous release does: the row stays, with the time in deleted_at.
func (r *Users) Uninvite(ctx context.Context, batchID string, now time.Time) error {
	_, err := r.db.Conn(ctx).ExecContext(ctx, "UPDATE users SET deleted_at = $2, updated_at = $2 WHERE "+invited+
		" AND id IN (SELECT user_id FROM invitations WHERE batch_id = $1 AND cancelled_at IS NOT NULL)", batchID, stored(now))
	return wrap("deleting invited users", err)
}

// scanTexts appends a column of texts.
func scanTexts(rows *sql.Rows, to []string) ([]string, error) {
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		to = append(to, text)
	}
	return to, rows.Err()
}
