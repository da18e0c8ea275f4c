package legacy

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

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

// RequestsDeps are what Requests needs; all are required.
type RequestsDeps struct {
	authentication.CodeRequestRepository // that of our own requests
	DB                                   *database.DB
	Clock                                Clock
	Keys                                 authentication.CodeKeys
}

// Requests is an authentication.CodeRequestRepository for as long as api pods of the previous release serve as well. They
// take a code from any browser, so it finds what any browser has asked for, and the codes they have made.
type Requests struct{ RequestsDeps }

// NewRequests returns a repository that decorates that of d.
func NewRequests(d RequestsDeps) *Requests { return &Requests{d} }

// Bound is as OfBrowser: any browser may have what it returns.
func (r *Requests) Bound(
	ctx context.Context, email string, purpose authentication.Purpose, browsers [][]byte,
) (bool, error) {
	if purpose != authentication.PurposeVerification {
		return r.CodeRequestRepository.Bound(ctx, email, purpose, browsers)
	}
	return true, nil
}

// OfBrowser returns the requests of every browser. A code of the previous release, which keeps the digits themselves, is
// returned as a request of ours when it is the newest: the caller stores what becomes of it, and from then on it is one.
// It is not looked for once the user is active.
func (r *Requests) OfBrowser(
	ctx context.Context, email string, purpose authentication.Purpose, browsers [][]byte,
) ([]authentication.CodeRequest, error) {
	if purpose != authentication.PurposeVerification {
		return r.CodeRequestRepository.OfBrowser(ctx, email, purpose, browsers)
	}
	requests, err := r.OfAddress(ctx, email, purpose)
	if err != nil {
		return nil, err
	}
	old, err := r.findOld(ctx, email)
	if err != nil {
		return nil, err
	}
	var newest authentication.Code
	if len(requests) > 0 {
		newest = requests[0].Code
	}
	if !replaces(old, newest, r.Clock.Now()) {
		return requests, nil
	}
	adopted := authentication.CodeRequest{
		ID:           uuid.Must(uuid.NewV7()).String(),
		Purpose:      purpose,
		Email:        old.email,
		UserID:       old.userID,
		PasswordHash: old.passwordHash,
		CreatedAt:    old.createdAt,
	}
	adopted.Code = authentication.Code{ // without an event: its mail was not ours
		Digest:    r.Keys.Digest(purpose, adopted.ID, old.digits),
		CreatedAt: old.createdAt, // so that once it is stored it no longer replaces what is stored
		ExpiresAt: old.createdAt.Add(authentication.CodeLifetime),
	}
	return append([]authentication.CodeRequest{adopted}, requests...), nil
}

// oldCode is a code of the previous release. The zero value: there is none.
type oldCode struct {
	userID, email, passwordHash string
	digits                      string
	createdAt                   time.Time // by the clock of the pod that made it
}

// replaces reports whether old is the code to go by instead of newest, the zero Code when there is none: old is the
// newer of the two, at most CodeLifetime old, although it lives longer where it comes from, and not from the future.
func replaces(old oldCode, newest authentication.Code, now time.Time) bool {
	age := now.Sub(old.createdAt)
	return old.digits != "" && -maxSkew <= age && age <= authentication.CodeLifetime &&
		old.createdAt.After(newest.CreatedAt)
}

// findOld returns the zero oldCode when the user has none, is active, was deleted or never existed.
func (r *Requests) findOld(ctx context.Context, email string) (old oldCode, err error) {
	var hash, digits sql.NullString
	var expires sql.NullTime
	err = r.DB.Conn(ctx).QueryRowContext(ctx, `
		SELECT id, username, password_hash, otp, otp_expired_at FROM users
		WHERE lower(username) = lower($1) AND deleted_at IS NULL AND disabled_at IS NULL AND is_active IS NOT TRUE`, email).
		Scan(&old.userID, &old.email, &hash, &digits, &expires)
	if database.IsNotFound(err) || err == nil && !expires.Valid {
		return oldCode{}, nil
	}
	if err != nil {
		return oldCode{}, fmt.Errorf("legacy: reading a code of the previous release: %w", err)
	}
	old.passwordHash, old.digits = hash.String, digits.String
	// As precise as our codes are stored: adopted, it must not look newer than itself.
	old.createdAt = truncate(expires.Time.Add(-oldLifetime))
	return old, nil
}

// saveDigits stores a code of ours, with the password and the spelling of the address of the request it belongs to, where
// pods of the previous release look, in place of whatever was there. They accept the code until it expires, from whom it
// may be: this is as weak as they are. Expiring as ours does, it looks a day old to replaces: it is never taken for one of
// theirs. A user who has gone, by a cancelled invitation, has no such place: our pods alone know the code.
func saveDigits(ctx context.Context, tx database.Querier, eventID string, d event.VerificationRequested) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE users SET otp = $2, otp_expired_at = $3, username = $4,
			password_hash = COALESCE((SELECT password_hash FROM code_requests WHERE event_id = $5), password_hash)
		WHERE id = $1 AND deleted_at IS NULL AND disabled_at IS NULL AND is_active IS NOT TRUE`,
		d.UserID, d.OTPCode, truncate(d.ExpiresAt), d.Recipient, eventID)
	if err != nil {
		return fmt.Errorf("legacy: storing a code for the previous release: %w", err)
	}
	return nil
}

// truncate returns t as both engines can give it back.
func truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
