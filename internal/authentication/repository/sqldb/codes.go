package sqldb

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Codes is an [authentication.CodeRepository]. It is safe for concurrent use.
type Codes struct{ db *database.DB }

// NewCodes returns a repository on db.
func NewCodes(db *database.DB) *Codes { return &Codes{db} }

// Find returns ErrCodeNotFound when none was ever stored.
func (r *Codes) Find(ctx context.Context, userID string, purpose authentication.Purpose) (authentication.Code, error) {
	c := authentication.Code{UserID: database.UUID(userID), Purpose: purpose}
	err := r.db.Conn(ctx).QueryRowContext(ctx, `SELECT digest, event_id, wrong_tries, created_at, expires_at, used_at
FROM verification_codes WHERE user_id = $1 AND purpose = $2`, c.UserID, string(purpose)).
		Scan(&c.Digest, &c.EventID, &c.WrongTries,
			database.UTC(&c.CreatedAt), database.UTC(&c.ExpiresAt), database.UTC(&c.UsedAt))
	if err != nil {
		return authentication.Code{}, database.WrapRow("authentication: reading a code", err, authentication.ErrCodeNotFound)
	}
	return c, nil
}

// Save stores c in place of whatever was there. It returns database.ErrNoTx outside a transaction: a code belongs
// together with its event, and is only changed under its user's lock.
func (r *Codes) Save(ctx context.Context, c authentication.Code) error {
	_, err := r.db.ExecTx(ctx, "authentication: storing a code", `INSERT INTO verification_codes
(user_id, purpose, digest, event_id, wrong_tries, created_at, expires_at, used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (user_id, purpose) DO UPDATE SET digest = excluded.digest, event_id = excluded.event_id,
wrong_tries = excluded.wrong_tries, created_at = excluded.created_at, expires_at = excluded.expires_at,
used_at = excluded.used_at`,
		c.UserID, string(c.Purpose), c.Digest, c.EventID, c.WrongTries,
		database.Truncate(c.CreatedAt), database.Truncate(c.ExpiresAt), database.NullTime(c.UsedAt))
	return err
}
