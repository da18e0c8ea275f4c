package sqldb

import (
	"context"
	"database/sql"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Codes is an [authentication.CodeRepository]. It is safe for concurrent use.
type Codes struct{ db *database.DB }

// NewCodes returns a repository on db.
func NewCodes(db *database.DB) *Codes { return &Codes{db} }

// Find returns ErrCodeNotFound when none was ever stored, also for a user id that is no uuid.
func (r *Codes) Find(ctx context.Context, userID string, purpose authentication.Purpose) (authentication.Code, error) {
	userID, ok := canonical(userID)
	if !ok {
		return authentication.Code{}, authentication.ErrCodeNotFound
	}
	c := authentication.Code{UserID: userID, Purpose: purpose}
	var used sql.NullTime
	err := r.db.Conn(ctx).QueryRowContext(ctx, `SELECT digest, event_id, wrong_tries, created_at, expires_at, used_at
FROM verification_codes WHERE user_id = $1 AND purpose = $2`, userID, string(purpose)).
		Scan(&c.Digest, &c.EventID, &c.WrongTries, &c.CreatedAt, &c.ExpiresAt, &used)
	if database.IsNotFound(err) {
		return authentication.Code{}, authentication.ErrCodeNotFound
	}
	if err != nil {
		return authentication.Code{}, wrap("reading a code", err)
	}
	c.CreatedAt = c.CreatedAt.UTC()
	c.ExpiresAt = c.ExpiresAt.UTC()
	if used.Valid {
		c.UsedAt = used.Time.UTC()
	}
	return c, nil
}

// Save stores c in place of whatever was there. It returns database.ErrNoTx outside a transaction: a code belongs
// together with its event, and is only changed under its user's lock.
func (r *Codes) Save(ctx context.Context, c authentication.Code) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	used := sql.NullTime{Time: truncate(c.UsedAt), Valid: !c.UsedAt.IsZero()}
	_, err = tx.ExecContext(ctx, `INSERT INTO verification_codes
(user_id, purpose, digest, event_id, wrong_tries, created_at, expires_at, used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (user_id, purpose) DO UPDATE SET digest = excluded.digest, event_id = excluded.event_id,
wrong_tries = excluded.wrong_tries, created_at = excluded.created_at, expires_at = excluded.expires_at,
used_at = excluded.used_at`,
		c.UserID, string(c.Purpose), c.Digest, c.EventID, c.WrongTries, truncate(c.CreatedAt), truncate(c.ExpiresAt), used)
	return wrap("storing a code", err)
}
