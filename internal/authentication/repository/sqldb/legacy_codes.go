package sqldb

import (
	"context"
	"database/sql"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// legacyLifetime is how long a code of the previous release lives there. It stores users.otp_expired_at and not when the
// code was made, which therefore is that long before.
const legacyLifetime = 24 * time.Hour

// LegacyCodes is an authentication.LegacyCodeRepository on users.otp and users.otp_expired_at. Safe for concurrent use.
type LegacyCodes struct{ db *database.DB }

// NewLegacyCodes answers a repository on db.
func NewLegacyCodes(db *database.DB) *LegacyCodes { return &LegacyCodes{db} }

// Find answers ErrCodeNotFound when the user has none, was deleted or never existed, also for an id that is no uuid.
func (r *LegacyCodes) Find(ctx context.Context, userID string) (authentication.LegacyCode, error) {
	userID, ok := canonical(userID)
	if !ok {
		return authentication.LegacyCode{}, authentication.ErrCodeNotFound
	}
	var digits sql.NullString
	var expires sql.NullTime
	err := r.db.Conn(ctx).QueryRowContext(ctx, "SELECT otp, otp_expired_at FROM users WHERE id = $1 AND deleted_at IS NULL",
		userID).Scan(&digits, &expires)
	if database.IsNotFound(err) || err == nil && (digits.String == "" || !expires.Valid) {
		return authentication.LegacyCode{}, authentication.ErrCodeNotFound
	}
	if err != nil {
		return authentication.LegacyCode{}, wrap("reading a code of the previous release", err)
	}
	// As precise as Codes stores it: adopted, it must not look newer than itself.
	return authentication.LegacyCode{Digits: digits.String, CreatedAt: stored(expires.Time.Add(-legacyLifetime))}, nil
}

// Save answers database.ErrNoTx outside a transaction, as Codes does, and ErrUserNotFound when there is none.
func (r *LegacyCodes) Save(ctx context.Context, userID, digits string, expiresAt time.Time) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	userID, ok := canonical(userID)
	if !ok {
		return authentication.ErrUserNotFound
	}
	result, err := tx.ExecContext(ctx, "UPDATE users SET otp = $2, otp_expired_at = $3 WHERE id = $1 AND deleted_at IS NULL",
		userID, digits, stored(expiresAt))
	if err != nil {
		return wrap("storing a code for the previous release", err)
	}
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		return authentication.ErrUserNotFound
	}
	return wrap("storing a code for the previous release", err)
}
