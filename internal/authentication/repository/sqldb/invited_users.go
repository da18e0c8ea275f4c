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
const invited = "deleted_at IS NULL AND is_active IS NOT TRUE AND COALESCE(password_hash, '') = ''"

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
func (r *Users) Uninvite(ctx context.Context, ids []string, now time.Time) error {
	for chunk := range slices.Chunk(ids, rowsPer(r.db.Dialect())) {
		_, err := r.db.Conn(ctx).ExecContext(ctx, "UPDATE users SET deleted_at = $1, updated_at = $1 WHERE "+invited+
			" AND id IN ("+database.Placeholders(2, len(chunk))+")", prepend(stored(now), chunk)...)
		if err != nil {
			return wrap("deleting invited users", err)
		}
	}
	return nil
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
