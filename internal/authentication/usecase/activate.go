package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// Activate stores the hash of a password that the owner of the user's address has chosen, activates the user and starts
// the trial, in the transaction of ctx and under the user's lock. The caller has proof of the address. It opens a session,
// which is worth something once the transaction has committed.
//
// Activate returns ErrUserNotFound, also for a user who is disabled, or ErrAlreadyVerified for a user who is active already
// and keeps their password.
func (uc *UseCase) Activate(
	ctx context.Context, userID, passwordHash string, client authentication.Client,
) (authentication.Login, error) {
	user, err := uc.deps.Users.LockByID(ctx, userID)
	if err != nil {
		return authentication.Login{}, err
	}
	if user.Disabled() {
		return authentication.Login{}, authentication.ErrUserNotFound
	}
	if user.Active {
		return authentication.Login{}, authentication.ErrAlreadyVerified
	}
	user, err = uc.activate(ctx, user, user.Email, passwordHash, user.Locale, uc.deps.Clock.Now())
	if err != nil {
		return authentication.Login{}, err
	}
	return uc.openSession(ctx, user, false, client)
}
