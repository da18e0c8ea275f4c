package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// Login returns a session that lives for days instead of hours when remember is set. It returns ErrInvalidEmail,
// ErrWrongPassword (also for an unknown address), ErrBusy, an error of the Guard, or – to a password that waits for its
// code, whether the address has an account or not – ErrNotVerified.
func (uc *UseCase) Login(
	ctx context.Context, c authentication.Credentials, remember bool, client authentication.Client,
) (authentication.Login, error) {
	found, err := uc.authenticate(ctx, c, client)
	if err != nil {
		return authentication.Login{}, err
	}
	if found.request != nil || !found.user.Active {
		return authentication.Login{}, authentication.ErrNotVerified
	}
	// Nothing is lost by an error: what has been counted counts on. People log in while the database is read-only.
	_ = uc.deps.Guard.LoginSucceeded(ctx, found.user.Email, client)
	if found.outdated {
		uc.replaceHash(ctx, found.user, c.Password)
	}
	return uc.openSession(found.user, remember)
}

func (uc *UseCase) openSession(user authentication.User, remember bool) (authentication.Login, error) {
	token, err := uc.deps.Tokens.Issue(user, remember)
	if err != nil {
		return authentication.Login{}, err
	}
	return authentication.Login{User: user, Token: token}, nil
}

// replaceHash returns no error because nothing is lost by one: the old hash still verifies and the next login tries
// again. What hindered it, a full pool or the database, shows in their own metrics.
func (uc *UseCase) replaceHash(ctx context.Context, verified authentication.User, password string) {
	hash, err := uc.deps.Passwords.Hash(ctx, password)
	if err != nil {
		return
	}
	_ = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := uc.deps.Users.LockByEmail(ctx, verified.Email)
		if err != nil || user.PasswordHash != verified.PasswordHash { // a newer password must not be undone
			return err
		}
		user.PasswordHash, user.UpdatedAt = hash, uc.deps.Clock.Now()
		return uc.deps.Users.Update(ctx, user)
	})
}
