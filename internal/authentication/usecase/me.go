package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// Me returns the user a token was issued to, as stored now. It returns ErrUnauthenticated when they are gone or no longer
// active.
func (uc *UseCase) Me(ctx context.Context, userID string) (authentication.User, error) {
	user, err := uc.deps.Users.ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) || err == nil && !user.Active {
		return authentication.User{}, authentication.ErrUnauthenticated
	}
	return user, err
}
