package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// ChangePassword replaces the old password of a user who is logged in. Every session of theirs ends, and they are told by
// mail; the one it opens, for as long as the present one was for, is that of the browser that asked. It returns ErrWrongPassword, which counts as for a login,
// ErrBody (new password), ErrBusy, or an error of the Guard.
func (uc *UseCase) ChangePassword(
	ctx context.Context, who authentication.Identity, oldPassword, newPassword string, client authentication.Client,
) (authentication.Login, error) {
	user := who.User
	if err := uc.deps.Guard.Login(ctx, user.Email, client); err != nil {
		return authentication.Login{}, err
	}
	if err := uc.deps.PasswordRules.CheckField("new_password", newPassword, user.Email); err != nil {
		return authentication.Login{}, err
	}
	ok, _, err := uc.deps.Passwords.Verify(ctx, user.PasswordHash, oldPassword)
	if err != nil {
		return authentication.Login{}, err
	}
	if !ok {
		if err := uc.deps.Guard.LoginFailed(ctx, user.Email, client); err != nil {
			return authentication.Login{}, err
		}
		return authentication.Login{}, authentication.ErrWrongPassword
	}
	hash, err := uc.deps.Passwords.Hash(ctx, newPassword)
	if err != nil {
		return authentication.Login{}, err
	}
	var login authentication.Login
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		changed, err := uc.deps.Users.LockByID(ctx, user.ID)
		if err != nil {
			return err
		}
		if !changed.Active || changed.PasswordHash != user.PasswordHash { // of a moment ago
			return authentication.ErrWrongPassword
		}
		now := uc.deps.Clock.Now()
		changed.PasswordHash, changed.TokensValidAfter, changed.UpdatedAt = hash, now, now
		if err := uc.deps.Users.Update(ctx, changed); err != nil {
			return err
		}
		if err := uc.endResets(ctx, changed.Email, ""); err != nil {
			return err
		}
		if err := uc.endSessions(ctx, changed, ""); err != nil {
			return err
		}
		if err := uc.notify(ctx, changed, event.NoticePasswordChanged, now); err != nil {
			return err
		}
		login, err = uc.openSession(ctx, changed, who.Session.Remember, client)
		return err
	})
	if err != nil {
		return authentication.Login{}, err
	}
	_ = uc.deps.Guard.LoginSucceeded(ctx, login.User.Email, client) // committed: what is only counted must not undo that
	return login, nil
}
