package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// authenticate returns the user these credentials belong to, and whether the stored hash is outdated. An unknown address
// and a wrong password are the same ErrWrongPassword after one verification each. Only a hash of the previous release
// takes another time, until it is replaced.
func (uc *UseCase) authenticate(ctx context.Context, c authentication.Credentials) (authentication.User, bool, error) {
	email, err := authentication.TypedEmail(c.Email)
	if err != nil {
		return authentication.User{}, false, err
	}
	user, err := uc.deps.Users.ByEmail(ctx, email)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, false, err
	}
	known := err == nil // if not, the hash is empty: that costs the same and is never right
	ok, outdated, err := uc.deps.Passwords.Verify(ctx, user.PasswordHash, c.Password)
	if err != nil {
		return authentication.User{}, false, err
	}
	if !known || !ok {
		return authentication.User{}, false, authentication.ErrWrongPassword
	}
	return user, outdated, nil
}
