package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// Identify implements [authentication.Identifier].
func (uc *UseCase) Identify(ctx context.Context, claims authentication.Claims) (authentication.User, error) {
	user, err := uc.deps.Users.ByID(ctx, claims.UserID)
	if errors.Is(err, authentication.ErrUserNotFound) || err == nil && !user.Active {
		return authentication.User{}, authentication.ErrUnauthenticated
	}
	return user, err
}
