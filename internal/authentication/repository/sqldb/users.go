// Package sqldb stores users, their codes and the batches in which they were invited in PostgreSQL or SQLite, in the tables
// of the previous release and ours beside them.
//
// It promises that every method takes part in the transaction of its context. Columns it does not know, such as
// avatar_url, keep their values. It deletes nobody who has ever had a password.
package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Users is an [authentication.UserRepository] and an [authentication.InvitedRepository]. It is safe for concurrent use.
type Users struct{ db *database.DB }

// NewUsers returns a repository on db.
func NewUsers(db *database.DB) *Users { return &Users{db} }

const selectUser = `SELECT id, username, full_name, password_hash, role_hash, is_active, created_at, updated_at
FROM users WHERE deleted_at IS NULL AND `

// Create inserts u. It returns ErrEmailTaken when a user who is not deleted has the address in any case of letters;
// on PostgreSQL the transaction is aborted then.
func (r *Users) Create(ctx context.Context, u authentication.User) error {
	_, err := r.db.Conn(ctx).ExecContext(ctx, `INSERT INTO users
(id, username, full_name, password_hash, role_hash, is_active, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		u.ID, u.Email, nullable(u.FullName), nullable(u.PasswordHash), roleHash(u.Role), u.Active,
		truncate(u.CreatedAt), truncate(u.UpdatedAt))
	if r.db.Dialect().IsUniqueViolation(err) {
		return authentication.ErrEmailTaken.WithCause(err)
	}
	return wrap("creating a user", err)
}

// ByID returns ErrUserNotFound when there is none, also for an id that is no uuid.
func (r *Users) ByID(ctx context.Context, id string) (authentication.User, error) {
	id, ok := canonical(id)
	if !ok {
		return authentication.User{}, authentication.ErrUserNotFound
	}
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, selectUser+"id = $1", id))
}

// ByEmail compares without regard to case. It returns ErrUserNotFound when there is none.
func (r *Users) ByEmail(ctx context.Context, email string) (authentication.User, error) {
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, selectUser+"lower(username) = lower($1)", email))
}

// LockByEmail is ByEmail that holds the row until the transaction ends. It returns database.ErrNoTx outside a transaction.
func (r *Users) LockByEmail(ctx context.Context, email string) (authentication.User, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.User{}, err
	}
	return scanUser(tx.QueryRowContext(ctx, selectUser+"lower(username) = lower($1)"+r.db.Dialect().ForUpdate(), email))
}

// LockByID is ByID that holds the row until the transaction ends. It returns database.ErrNoTx outside a transaction.
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

// Update stores everything but ID, Email and CreatedAt. It returns ErrUserNotFound when there is none.
func (r *Users) Update(ctx context.Context, u authentication.User) error {
	id, ok := canonical(u.ID)
	if !ok {
		return authentication.ErrUserNotFound
	}
	result, err := r.db.Conn(ctx).ExecContext(ctx, `UPDATE users
SET full_name = $2, password_hash = $3, role_hash = $4, is_active = $5, updated_at = $6
WHERE id = $1 AND deleted_at IS NULL`,
		id, nullable(u.FullName), nullable(u.PasswordHash), roleHash(u.Role), u.Active, truncate(u.UpdatedAt))
	if err != nil {
		return wrap("updating a user", err)
	}
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		return authentication.ErrUserNotFound
	}
	return wrap("updating a user", err)
}

// scanUser reads rows of the previous release as well: there every column but the id, the name and the times can
// be NULL, and a name can have capital letters.
func scanUser(row *sql.Row) (authentication.User, error) {
	var u authentication.User
	var fullName, passwordHash, role sql.NullString
	var active sql.NullBool
	err := row.Scan(&u.ID, &u.Email, &fullName, &passwordHash, &role, &active, &u.CreatedAt, &u.UpdatedAt)
	if database.IsNotFound(err) {
		return authentication.User{}, authentication.ErrUserNotFound
	}
	if err != nil {
		return authentication.User{}, wrap("reading a user", err)
	}
	u.Email = strings.ToLower(u.Email)
	u.FullName = fullName.String
	u.PasswordHash = passwordHash.String
	u.Role = roleOf(role.String)
	u.Active = active.Bool
	u.CreatedAt = u.CreatedAt.UTC()
	u.UpdatedAt = u.UpdatedAt.UTC()
	return u, nil
}

// canonical returns id as the engines store it. PostgreSQL would abort the transaction over one that is no uuid.
func canonical(id string) (string, bool) {
	parsed, err := uuid.Parse(id)
	return parsed.String(), err == nil
}

func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// truncate returns t as both engines can give it back.
func truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("authentication/sqldb: %s: %w", doing, err)
}
