package legacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// oldLifetime is how long a code of the previous release lives there. It stores users.otp_expired_at and not when
	// the code was made, which therefore is that long before.
	oldLifetime = 24 * time.Hour
	// maxSkew is how far ahead the clock of a pod of the previous release may be: its codes carry that clock's time.
	maxSkew = time.Minute
)

// CodesDeps are what Codes needs; all are required.
type CodesDeps struct {
	authentication.CodeRepository // that of our own codes
	DB                            *database.DB
	Clock                         Clock
	Key                           authentication.CodeKey
}

// Codes is an authentication.CodeRepository whose Find knows the codes of the previous release as well. Its callers hold
// the user's lock, as for every code that is read for change.
type Codes struct{ CodesDeps }

// NewCodes returns a repository that decorates that of d.
func NewCodes(d CodesDeps) *Codes { return &Codes{d} }

// Find returns the newest code of the user, whichever release made it. One of the previous release, which keeps the
// digits themselves, is returned as one of ours: the caller stores what becomes of it, and from then on it is one. It
// is not looked for once the user is active. ErrCodeNotFound when there is neither.
func (r *Codes) Find(ctx context.Context, userID string, purpose authentication.Purpose) (authentication.Code, error) {
	newest, missing := r.CodeRepository.Find(ctx, userID, purpose)
	failed := missing != nil && !errors.Is(missing, authentication.ErrCodeNotFound)
	if failed || purpose != authentication.PurposeVerification {
		return newest, missing
	}
	old, err := r.findOld(ctx, userID)
	if err != nil {
		return authentication.Code{}, err
	}
	if !replaces(old, newest, r.Clock.Now()) {
		return newest, missing
	}
	return authentication.Code{
		UserID:    userID,
		Purpose:   purpose,
		Digest:    r.Key.Digest(purpose, userID, old.digits),
		CreatedAt: old.createdAt, // so that once it is stored it no longer replaces what is stored
		ExpiresAt: old.createdAt.Add(authentication.CodeLifetime),
	}, nil // without an event: its mail was not ours
}

// oldCode is a code of the previous release. The zero value: there is none.
type oldCode struct {
	digits    string
	createdAt time.Time // by the clock of the pod that made it
}

// replaces reports whether old is the code to go by instead of newest, the zero Code when there is none: old is the
// newer of the two, at most CodeLifetime old, although it lives longer where it comes from, and not from the future.
func replaces(old oldCode, newest authentication.Code, now time.Time) bool {
	age := now.Sub(old.createdAt)
	return old.digits != "" && -maxSkew <= age && age <= authentication.CodeLifetime &&
		old.createdAt.After(newest.CreatedAt)
}

// findOld returns the zero oldCode when the user has none, is active, was deleted or never existed.
func (r *Codes) findOld(ctx context.Context, userID string) (oldCode, error) {
	var digits sql.NullString
	var expires sql.NullTime
	err := r.DB.Conn(ctx).QueryRowContext(ctx, `
		SELECT otp, otp_expired_at FROM users
		WHERE id = $1 AND deleted_at IS NULL AND is_active IS NOT TRUE`, database.UUID(userID)).Scan(&digits, &expires)
	if database.IsNotFound(err) || err == nil && !expires.Valid {
		return oldCode{}, nil
	}
	if err != nil {
		return oldCode{}, fmt.Errorf("legacy: reading a code of the previous release: %w", err)
	}
	// As precise as our codes are stored: adopted, it must not look newer than itself.
	return oldCode{digits.String, truncate(expires.Time.Add(-oldLifetime))}, nil
}

// saveDigits stores a code of ours where pods of the previous release look, in place of whatever was there. They accept
// it until it expires. Expiring as ours does, it looks a day old to replaces: it is never taken for one of theirs.
func saveDigits(ctx context.Context, tx database.Querier, d event.VerificationRequested) error {
	result, err := tx.ExecContext(ctx, `
		UPDATE users SET otp = $2, otp_expired_at = $3 WHERE id = $1 AND deleted_at IS NULL`,
		d.UserID, d.OTPCode, truncate(d.ExpiresAt))
	if err != nil {
		return fmt.Errorf("legacy: storing a code for the previous release: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("legacy: storing a code for the previous release: %w",
			cmp.Or(err, error(authentication.ErrUserNotFound)))
	}
	return nil
}

// truncate returns t as both engines can give it back.
func truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
