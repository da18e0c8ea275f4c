// Package sqldb stores users, their codes and the batches in which they were invited in PostgreSQL or SQLite, in the tables
// of the previous release and ours beside them.
//
// It promises that every method takes part in the transaction of its context. Columns it does not know keep
// their values. It deletes nobody who has ever had a password. An id that is no UUID is not found.
package sqldb

import (
	"context"
	"database/sql"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Users is an [authentication.UserRepository], an [authentication.UserDirectory] and an [authentication.InvitedRepository]. It is safe for concurrent use.
type Users struct{ db *database.DB }

// NewUsers returns a repository on db.
func NewUsers(db *database.DB) *Users { return &Users{db} }

// userColumns reads rows of the previous release as well: there every column but the id and the name can be NULL. What a
// disabled user's row hides from that release is in columns of its own.
const userColumns = `users.id, users.username, COALESCE(users.full_name, ''), COALESCE(users.avatar_url, ''),
CASE WHEN users.disabled_at IS NULL THEN COALESCE(users.password_hash, '') ELSE COALESCE(users.disabled_hash, '') END,
COALESCE(users.role_hash, ''), COALESCE(users.locale, ''), COALESCE(users.disabled_active, users.is_active) IS TRUE,
users.disabled_at, users.tokens_valid_after, users.created_at, users.updated_at`

const selectUser = "SELECT " + userColumns + " FROM users WHERE deleted_at IS NULL AND "

// The conditions for one user.
const (
	byID    = "id = $1"
	byEmail = "lower(username) = lower($1)"
)

// Create inserts u, unless a user who is not deleted has the address in any case of letters. One who is not active yet is
// provisional.
func (r *Users) Create(ctx context.Context, u authentication.User) error {
	_, err := r.db.Exec(ctx, "authentication: creating a user", `INSERT INTO users
(id, username, full_name, password_hash, role_hash, locale, is_active, provisional, created_at, updated_at)
VALUES ($1, $2, NULLIF($3, ''), NULLIF($4, ''), $5, NULLIF($6, ''), $7, NOT $7, $8, $9)
ON CONFLICT (lower(username)) WHERE deleted_at IS NULL DO NOTHING`,
		u.ID, u.Email, u.FullName, u.PasswordHash, roleHash(u.Role), u.Locale, u.Active,
		database.Truncate(u.CreatedAt), database.Truncate(u.UpdatedAt))
	return err
}

// ByID returns ErrUserNotFound when there is none.
func (r *Users) ByID(ctx context.Context, id string) (authentication.User, error) {
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, selectUser+byID, database.UUID(id)))
}

// ByEmail compares without regard to case. It returns ErrUserNotFound when there is none.
func (r *Users) ByEmail(ctx context.Context, email string) (authentication.User, error) {
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, selectUser+byEmail, email))
}

// LastDeleted returns the id of the user who had the address and was deleted last, and when that was. It returns
// ErrUserNotFound when there is none.
func (r *Users) LastDeleted(ctx context.Context, email string) (id string, at time.Time, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, `SELECT id, deleted_at FROM users
WHERE lower(username) = lower($1) AND deleted_at IS NOT NULL ORDER BY deleted_at DESC LIMIT 1`, email).
		Scan(&id, database.UTC(&at))
	return id, at, database.WrapRow("authentication: reading a deleted user", err, authentication.ErrUserNotFound)
}

// LockByEmail is ByEmail that holds the row until the transaction ends. It returns database.ErrNoTx outside a transaction.
func (r *Users) LockByEmail(ctx context.Context, email string) (authentication.User, error) {
	return r.lock(ctx, byEmail, email)
}

// LockByID is ByID that holds the row until the transaction ends. It returns database.ErrNoTx outside a transaction.
func (r *Users) LockByID(ctx context.Context, id string) (authentication.User, error) {
	return r.lock(ctx, byID, database.UUID(id))
}

func (r *Users) lock(ctx context.Context, where, arg string) (authentication.User, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.User{}, err
	}
	return scanUser(tx.QueryRowContext(ctx, selectUser+where+r.db.Dialect().ForUpdate(), arg))
}

// Update stores everything but ID, AvatarURL and CreatedAt, and of Email the case of letters. It returns ErrUserNotFound
// when there is none with this address.
func (r *Users) Update(ctx context.Context, u authentication.User) error {
	hash, active, hidden := u.PasswordHash, u.Active, sql.NullBool{}
	disabledHash := ""
	if u.Disabled() {
		hash, active, disabledHash, hidden = "", false, u.PasswordHash, sql.NullBool{Bool: u.Active, Valid: true}
	}
	changed, err := r.db.Exec(ctx, "authentication: updating a user", `UPDATE users
SET username = $2, full_name = NULLIF($3, ''), password_hash = NULLIF($4, ''), role_hash = $5, locale = NULLIF($6, ''),
	is_active = $7, provisional = CASE WHEN $8 THEN NULL ELSE provisional END, updated_at = $9,
	tokens_valid_after = $10, disabled_at = $11, disabled_hash = NULLIF($12, ''), disabled_active = $13,
	otp = CASE WHEN $14 THEN NULL ELSE otp END, otp_expired_at = CASE WHEN $14 THEN NULL ELSE otp_expired_at END
WHERE id = $1 AND deleted_at IS NULL AND lower(username) = lower($2)`,
		database.UUID(u.ID), u.Email, u.FullName, hash, roleHash(u.Role), u.Locale, active, u.Active,
		database.Truncate(u.UpdatedAt), database.NullTime(u.TokensValidAfter), database.NullTime(u.DisabledAt), disabledHash,
		hidden, u.Disabled())
	if err == nil && changed == 0 {
		return authentication.ErrUserNotFound
	}
	return err
}

// LockAdmins returns the administrators, locked in the order of their ids. It returns database.ErrNoTx outside a
// transaction.
func (r *Users) LockAdmins(ctx context.Context) ([]authentication.User, error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	return database.All(ctx, r.db, "authentication: locking the administrators", scanUser,
		selectUser+"role_hash = $1 ORDER BY id"+r.db.Dialect().ForUpdate(), adminHash)
}

// Admins returns the administrators, in the order of their addresses.
func (r *Users) Admins(ctx context.Context) ([]authentication.User, error) {
	return database.All(ctx, r.db, "authentication: listing the administrators", scanUser,
		selectUser+"role_hash = $1 ORDER BY lower(username)", adminHash)
}

// Delete hides a user: the row stays until the user is erased. It returns ErrUserNotFound when there is none.
func (r *Users) Delete(ctx context.Context, id string, now time.Time) error {
	changed, err := r.db.ExecTx(ctx, "authentication: deleting a user", `UPDATE users
SET deleted_at = $2, tokens_valid_after = $2, updated_at = $2 WHERE id = $1 AND deleted_at IS NULL`,
		database.UUID(id), database.Truncate(now))
	if err == nil && changed == 0 {
		return authentication.ErrUserNotFound
	}
	return err
}

// purgeBatch is how many users one transaction purges: their locks are held for a moment only.
const purgeBatch = 1000

// neverProven is the condition of users whom nothing keeps.
const neverProven = `provisional AND is_active IS NOT TRUE AND disabled_at IS NULL AND deleted_at IS NULL AND created_at < $1
AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.user_id = users.id)
AND NOT EXISTS (SELECT 1 FROM invitations i WHERE i.user_id = users.id AND i.cancelled_at IS NULL AND i.accepted_at IS NULL)
AND NOT EXISTS (SELECT 1 FROM code_requests q WHERE lower(q.email) = lower(users.username) AND q.purpose = $2)`

// PurgeProvisional deletes users whom this release created before then and who have never been active, unless they hold a
// subscription, an invitation that has neither been cancelled nor taken, or a request for a code. It returns how many.
//
// It passes over users whom another transaction has locked, and looks again at the others under their locks: a request
// that was made meanwhile keeps its user.
func (r *Users) PurgeProvisional(ctx context.Context, then time.Time) (purged int64, err error) {
	const doing = "authentication: purging unverified users"
	for found := purgeBatch; err == nil && found == purgeBatch; {
		err = r.db.WithinTx(ctx, func(ctx context.Context) error {
			args := []any{database.Truncate(then), string(authentication.PurposeVerification)}
			ids, err := database.All(ctx, r.db, doing, database.Text, "SELECT id FROM users WHERE "+neverProven+
				" ORDER BY created_at LIMIT $3"+r.db.Dialect().ForUpdateSkipLocked(), append(args, purgeBatch)...)
			if found = len(ids); err != nil || found == 0 {
				return err
			}
			args, in := database.In(ids, args...)
			n, err := r.db.Exec(ctx, doing, "DELETE FROM users WHERE "+neverProven+" AND id IN ("+in+")", args...)
			purged += n
			return err
		})
	}
	return purged, err
}

func scanUser(row database.Row) (u authentication.User, err error) {
	u, err = scanUserBehind(row)
	return u, database.WrapRow("authentication: reading a user", err, authentication.ErrUserNotFound)
}

// scanUserBehind scans userColumns behind others.
func scanUserBehind(row database.Row, others ...any) (u authentication.User, err error) {
	var role string
	err = row.Scan(append(others, &u.ID, &u.Email, &u.FullName, &u.AvatarURL, &u.PasswordHash, &role, &u.Locale, &u.Active,
		database.UTC(&u.DisabledAt), database.UTC(&u.TokensValidAfter), database.UTC(&u.CreatedAt), database.UTC(&u.UpdatedAt))...)
	database.FillTimes(&u.CreatedAt, &u.UpdatedAt)
	u.Role = roleOf(role)
	return u, err
}
