package sqldb

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// unused is [authentication.User.Invited] in SQL, of a live or of a deleted row. A row of the previous release can have
// NULL or "" where nothing is. An account that was deleted by a person, which ended its tokens, is left to the erasure. No
// index fits a CASE, on purpose: right after many were invited PostgreSQL knows nothing of them, expects few that are
// unused, and would search these for every id of a list.
const (
	unused        = `CASE WHEN deleted_at IS NULL AND ` + neverUsed + ` THEN 1 ELSE 0 END = 1`
	unusedDeleted = `CASE WHEN deleted_at IS NOT NULL AND tokens_valid_after IS NULL AND ` + neverUsed + ` THEN 1 ELSE 0 END = 1`
	neverUsed     = `is_active IS NOT TRUE AND disabled_at IS NULL AND COALESCE(password_hash, '') = ''`
)

// CreateInvited returns the addresses of the users it created. It returns database.ErrNoTx outside a transaction.
func (r *Users) CreateInvited(ctx context.Context, users []authentication.User) (created []string, err error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	const columns = 7
	for chunk := range slices.Chunk(users, r.db.Dialect().RowsPer()) {
		args := make([]any, 0, len(chunk)*columns)
		for _, u := range chunk {
			args = append(args, u.ID, u.Email, roleHash(u.Role), u.Locale, false,
				database.Truncate(u.CreatedAt), database.Truncate(u.UpdatedAt))
		}
		emails, err := database.All(ctx, r.db, "authentication: creating invited users", database.Text,
			`INSERT INTO users (id, username, role_hash, locale, is_active, created_at, updated_at)
VALUES `+database.Rows(len(chunk), columns)+" ON CONFLICT DO NOTHING RETURNING username", args...)
		if err != nil {
			return nil, err
		}
		created = append(created, emails...)
	}
	return created, nil
}

// DeleteInvited deletes as the previous release does: the row stays, with the time in deleted_at.
func (r *Users) DeleteInvited(ctx context.Context, ids []string, now time.Time) (int64, error) {
	return r.execIDs(ctx, "UPDATE users SET deleted_at = $1, updated_at = $1 WHERE "+unused, ids, database.Truncate(now))
}

// EraseInvited removes the rows that DeleteInvited has left.
func (r *Users) EraseInvited(ctx context.Context, ids []string) error {
	_, err := r.execIDs(ctx, "DELETE FROM users WHERE "+unusedDeleted, ids)
	return err
}

// execIDs executes a statement for the users with these ids and returns how many rows it changed.
func (r *Users) execIDs(ctx context.Context, statement string, ids []string, args ...any) (changed int64, err error) {
	for chunk := range slices.Chunk(ids, r.db.Dialect().RowsPer()) {
		all, in := database.In(chunk, args...)
		n, err := r.db.Exec(ctx, "authentication: deleting invited users", statement+" AND id IN ("+in+")", all...)
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}
