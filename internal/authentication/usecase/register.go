package usecase

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// Register creates an inactive user, the first code and the event that mails it, in one commit. locale is the
// language of the mail. A user who was only invited registers like a new one. Register returns ErrInvalidEmail, ErrBody
// (password), ErrEmailTaken or ErrBusy.
func (uc *UseCase) Register(ctx context.Context, c authentication.Credentials, locale string) error {
	email, err := authentication.ParseEmail(c.Email)
	if err != nil {
		return err
	}
	if err := authentication.CheckPassword(c.Password); err != nil {
		return err
	}
	hash, err := uc.deps.Passwords.Hash(ctx, c.Password)
	if err != nil {
		return err
	}
	now := uc.deps.Clock.Now()
	user := authentication.User{
		ID:           uuid.Must(uuid.NewV7()).String(),
		Email:        email,
		PasswordHash: hash,
		Role:         authentication.RoleUser,
		Locale:       locale,
		CreatedAt:    now,
		UpdatedAt:    now,
	}
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if err := uc.deps.Users.Create(ctx, user); err != nil {
			return err
		}
		return uc.issueCode(ctx, user, locale, now)
	})
	if errors.Is(err, authentication.ErrEmailTaken) { // the transaction that found out is of no use any more
		return uc.registerInvited(ctx, email, hash, locale)
	}
	return err
}

// registerInvited gives a password and a code to an invited user nobody has used yet, or returns ErrEmailTaken. The
// address gets the spelling of the person who registers. The invitation stays usable until the user is active: its token
// proves the address, which registering does not.
func (uc *UseCase) registerInvited(ctx context.Context, email, hash, locale string) error {
	return uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := uc.deps.Users.LockByEmail(ctx, email)
		if errors.Is(err, authentication.ErrUserNotFound) || err == nil && !user.Invited() {
			return authentication.ErrEmailTaken
		}
		if err != nil {
			return err
		}
		now := uc.deps.Clock.Now()
		user.Email = email
		user.PasswordHash = hash
		user.Locale = locale
		user.UpdatedAt = now
		if err := uc.deps.Users.Update(ctx, user); err != nil {
			return err
		}
		return uc.issueCode(ctx, user, locale, now)
	})
}
