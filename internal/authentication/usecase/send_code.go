package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// SendCode replaces the code of a user who has not verified yet and has it mailed. Within ResendInterval of the last code,
// whatever became of its mail, it does nothing and returns nil. It returns ErrInvalidEmail, ErrWrongPassword, ErrBusy, or
// – to the right password only – ErrAlreadyVerified.
func (uc *UseCase) SendCode(ctx context.Context, c authentication.Credentials, locale string) error {
	user, _, err := uc.authenticate(ctx, c)
	if err != nil {
		return err
	}
	if user.Active {
		return authentication.ErrAlreadyVerified
	}
	return uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := uc.deps.Users.LockByEmail(ctx, user.Email) // read again: another request may have been first
		if errors.Is(err, authentication.ErrUserNotFound) {
			return authentication.ErrWrongPassword
		}
		if err != nil {
			return err
		}
		if user.Active {
			return authentication.ErrAlreadyVerified
		}
		now := uc.deps.Clock.Now()
		last, err := uc.deps.Codes.Find(ctx, user.ID, authentication.PurposeVerification)
		if err != nil && !errors.Is(err, authentication.ErrCodeNotFound) {
			return err
		}
		if err == nil && !last.CanResend(now) {
			return nil
		}
		return uc.issueCode(ctx, user, locale, now)
	})
}

// issueCode stores the code that a person has just asked for; see issuer.
func (uc *UseCase) issueCode(ctx context.Context, user authentication.User, locale string, now time.Time) error {
	return issuer{uc.deps.Codes, uc.deps.Events, uc.deps.CodeKey}.issue(ctx, user, locale, now, now)
}

// issuer makes codes.
type issuer struct {
	codes  authentication.CodeRepository
	events event.Publisher
	key    authentication.CodeKey
}

// issue stores a new code in place of the last and puts its mail into the outbox. requestedAt is when the person asked
// for it. The caller holds the user's lock, or has just created the user.
func (i issuer) issue(
	ctx context.Context, user authentication.User, locale string, requestedAt, now time.Time,
) error {
	digits := authentication.NewDigits()
	code := authentication.Code{
		UserID:    user.ID,
		Purpose:   authentication.PurposeVerification,
		Digest:    i.key.Digest(authentication.PurposeVerification, user.ID, digits),
		EventID:   event.NewID(),
		CreatedAt: requestedAt,
		ExpiresAt: now.Add(authentication.CodeLifetime),
	}
	if err := i.codes.Save(ctx, code); err != nil {
		return err
	}
	return i.events.Publish(ctx, event.Event{
		ID:   code.EventID,
		Key:  event.EmailVerificationRequested,
		Time: now,
		Data: event.VerificationRequested{
			UserID:    user.ID,
			Recipient: user.Email,
			OTPCode:   digits,
			Locale:    locale,
			ExpiresAt: code.ExpiresAt,
		},
	})
}
