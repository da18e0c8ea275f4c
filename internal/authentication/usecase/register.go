package usecase

import (
	"context"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// Register creates an inactive user, the first code and the event that mails it, in one commit. locale is the
// language of the mail. It answers ErrInvalidEmail, ErrBody (password), ErrEmailTaken or ErrBusy.
func (uc *UseCase) Register(ctx context.Context, c authentication.Credentials, locale string) error {
	email, err := authentication.ParseEmail(c.Email)
	if err != nil {
		return err
	}
	if err := authentication.CheckPassword(c.Password); err != nil {
		return err
	}
	hash, err := uc.Passwords.Hash(ctx, c.Password)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now := uc.Clock.Now()
	user := authentication.User{
		ID: id.String(), Email: email, PasswordHash: hash, Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
	}
	return uc.Tx.WithinTx(ctx, func(ctx context.Context) error {
		if err := uc.Users.Create(ctx, user); err != nil {
			return err
		}
		return uc.issueCode(ctx, user, locale, now)
	})
}
