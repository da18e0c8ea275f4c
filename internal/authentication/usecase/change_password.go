package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/audit"
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
	if err := uc.deps.PasswordRules.CheckField("new_password", newPassword, user.Email); err != nil {
		return authentication.Login{}, err
	}
	if err := uc.deps.Guard.Login(ctx, user.Email, client); err != nil {
		return authentication.Login{}, err
	}
	ok, _, err := uc.deps.Passwords.Verify(ctx, user.PasswordHash, oldPassword)
	if err == nil && !ok {
		return authentication.Login{}, authentication.ErrWrongPassword
	}
	var login authentication.Login
	if err == nil {
		login, err = uc.changePassword(ctx, who, newPassword, client)
	}
	if err != nil {
		uc.undoLogin(ctx, user.Email, client)
		return authentication.Login{}, err
	}
	_ = uc.deps.Guard.LoginSucceeded(ctx, login.User.Email, client) // committed: what is only counted must not undo that
	return login, nil
}

// changePassword gives the user the password, and opens a session. It returns ErrWrongPassword when theirs is no longer the
// one that was verified.
func (uc *UseCase) changePassword(
	ctx context.Context, who authentication.Identity, password string, client authentication.Client,
) (login authentication.Login, err error) {
	hash, err := uc.deps.Passwords.Hash(ctx, password)
	if err != nil {
		return authentication.Login{}, err
	}
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		changed, err := uc.deps.Users.LockByID(ctx, who.User.ID)
		if err != nil {
			return err
		}
		if !changed.Admitted() || changed.PasswordHash != who.User.PasswordHash { // of a moment ago
			return authentication.ErrWrongPassword
		}
		now := uc.deps.Clock.Now()
		changed.PasswordHash, changed.TokensValidAfter, changed.UpdatedAt = hash, now, now
		if err := uc.deps.Users.Update(ctx, changed); err != nil {
			return err
		}
		if err := endResets(ctx, uc.deps.Requests, changed.Email, ""); err != nil {
			return err
		}
		if err := uc.endSessions(ctx, changed, ""); err != nil {
			return err
		}
		if err := uc.notify(ctx, changed, event.NoticePasswordChanged, now); err != nil {
			return err
		}
		if err := uc.record(ctx, audit.UserPasswordChanged, changed.ID); err != nil {
			return err
		}
		login, err = uc.openSession(ctx, changed, who.Session.Remember, client)
		return err
	})
	return login, err
}
