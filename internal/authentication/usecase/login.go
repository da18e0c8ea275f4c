package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// Login opens a session that lasts for days instead of hours when remember is set. It returns ErrInvalidEmail,
// ErrWrongPassword (also for an unknown address), ErrDisabled, to the password of the account only, ErrBusy, an error of the Guard, or – to a password that waits for its
// code, whether the address has an account or not – ErrNotVerified.
func (uc *UseCase) Login(
	ctx context.Context, c authentication.Credentials, remember bool, client authentication.Client,
) (authentication.Login, error) {
	for again := true; ; again = false {
		found, err := uc.authenticate(ctx, c, client)
		if err != nil {
			return authentication.Login{}, err
		}
		if found.request != nil || !found.user.Admitted() {
			uc.undoLogin(ctx, found.email(), client)
			if found.request == nil && found.user.Disabled() {
				return authentication.Login{}, authentication.ErrDisabled
			}
			return authentication.Login{}, authentication.ErrNotVerified
		}
		login, err := uc.login(ctx, found, c.Password, remember, client)
		if err != nil { // the password was right
			uc.undoLogin(ctx, found.email(), client)
		}
		if errors.Is(err, errPasswordReplaced) {
			if again { // by another login that made the hash anew, or with another password
				continue
			}
			err = authentication.ErrWrongPassword
		}
		if err != nil {
			return authentication.Login{}, err
		}
		_ = uc.deps.Guard.LoginSucceeded(ctx, login.User.Email, client) // committed: what is only counted must not undo that
		return login, nil
	}
}

// errPasswordReplaced says that a user has another hash than the one that was verified.
var errPasswordReplaced = errors.New("authentication: the password was replaced meanwhile")

// login opens a session of a user whose hash has been verified, and makes an outdated hash anew. Nothing is lost when
// that is not possible for want of a place to hash: the old one still verifies, and the next login tries again.
func (uc *UseCase) login(
	ctx context.Context, verified proven, password string, remember bool, client authentication.Client,
) (authentication.Login, error) {
	hash := ""
	if verified.outdated {
		hash, _ = uc.deps.Passwords.Hash(ctx, password)
	}
	var login authentication.Login
	err := uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := uc.deps.Users.LockByID(ctx, verified.user.ID)
		if errors.Is(err, authentication.ErrUserNotFound) {
			return authentication.ErrWrongPassword
		}
		if err != nil {
			return err
		}
		if user.PasswordHash != verified.user.PasswordHash {
			return errPasswordReplaced
		}
		if user.Disabled() {
			return authentication.ErrDisabled
		}
		if !user.Active {
			return errPasswordReplaced
		}
		if hash != "" {
			user.PasswordHash, user.UpdatedAt = hash, uc.deps.Clock.Now()
			if err := uc.deps.Users.Update(ctx, user); err != nil {
				return err
			}
		}
		login, err = uc.openSession(ctx, user, remember, client)
		return err
	})
	return login, err
}
