package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Erasure is an [authentication.ErasureRepository]. It is safe for concurrent use.
type Erasure struct{ db *database.DB }

// NewErasure returns a repository on db.
func NewErasure(db *database.DB) *Erasure { return &Erasure{db} }

// selectDeleted reads users who are not marked as erased.
const selectDeleted = `SELECT id, username, deleted_at, username = CAST(id AS text) FROM users
WHERE deleted_at IS NOT NULL AND erased_at IS NULL AND `

// Due returns users who were deleted by then, in the order in which they were deleted.
func (r *Erasure) Due(
	ctx context.Context, then time.Time, after authentication.DeletedUser, limit int,
) ([]authentication.DeletedUser, error) {
	return database.All(ctx, r.db, "authentication: looking for users to erase", scanDeleted, selectDeleted+
		"deleted_at <= $1 AND (deleted_at > $2 OR deleted_at = $2 AND id > $3) ORDER BY deleted_at, id LIMIT $4",
		database.Truncate(then), database.Truncate(after.DeletedAt), database.UUID(after.ID), limit)
}

// LockDue waits for nobody: who holds the user erases them. It returns database.ErrNoTx outside a transaction.
func (r *Erasure) LockDue(ctx context.Context, id string) (u authentication.DeletedUser, ok bool, err error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return u, false, err
	}
	found, err := database.All(ctx, r.db, "authentication: locking a user to erase", scanDeleted,
		selectDeleted+"id = $1"+r.db.Dialect().ForUpdateSkipLocked(), database.UUID(id))
	if err != nil || len(found) == 0 {
		return u, false, err
	}
	u = found[0]
	u.Until, err = r.takenAt(ctx, u)
	return u, err == nil, err
}

// takenAt returns when another user got the address; zero when nobody has. Of several only one can have had it at a time, so
// that those who were created later got it later. Living and deleted users have an index each.
func (r *Erasure) takenAt(ctx context.Context, u authentication.DeletedUser) (at time.Time, err error) {
	const later = `SELECT created_at FROM users WHERE lower(username) = lower($1) AND id <> $2
	AND created_at > (SELECT COALESCE(created_at, deleted_at) FROM users WHERE id = $2) AND deleted_at IS `
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT created_at FROM ("+later+"NULL UNION ALL "+later+
		"NOT NULL) others ORDER BY created_at LIMIT 1", u.Email, database.UUID(u.ID)).Scan(database.UTC(&at))
	return at, database.WrapRow("authentication: looking who has an address", err, nil)
}

// Erase leaves a row with the id, the times, and whether the account was ever active, by which [Users.EraseInvited] knows
// those that were not. Its name is the id: names of users are unique in a database of the previous release.
func (r *Erasure) Erase(ctx context.Context, u authentication.DeletedUser) error {
	id := database.UUID(u.ID)
	for _, table := range []string{"sessions", "ended_tokens", "account_notices"} {
		if _, err := r.db.ExecTx(ctx, "authentication: erasing "+table, "DELETE FROM "+table+" WHERE user_id = $1", id); err != nil {
			return err
		}
	}
	_, err := r.db.ExecTx(ctx, "authentication: erasing requests for codes",
		"DELETE FROM code_requests WHERE code_at < $1 AND (user_id = $2 OR lower(email) = lower($3))",
		database.Truncate(u.Until), id, u.Email)
	if err != nil {
		return err
	}
	_, err = r.db.ExecTx(ctx, "authentication: erasing a user", `UPDATE users
SET username = CAST(id AS text), full_name = NULL, avatar_url = NULL, password_hash = NULL, otp = NULL, otp_expired_at = NULL,
	role_hash = NULL, locale = NULL, is_active = COALESCE(disabled_active, is_active), provisional = NULL,
	disabled_at = NULL, disabled_hash = NULL, disabled_active = NULL
WHERE id = $1 AND deleted_at IS NOT NULL`, id)
	return err
}

// MarkErased reports whether the user was not marked before. It returns database.ErrNoTx outside a transaction.
func (r *Erasure) MarkErased(ctx context.Context, id string, now time.Time) (bool, error) {
	n, err := r.db.ExecTx(ctx, "authentication: marking a user as erased",
		"UPDATE users SET erased_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL AND erased_at IS NULL",
		database.UUID(id), database.Truncate(now))
	return n > 0, err
}

func scanDeleted(row database.Row) (u authentication.DeletedUser, err error) {
	err = row.Scan(&u.ID, &u.Email, database.UTC(&u.DeletedAt), &u.Emptied)
	return u, err
}
