package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// Identify implements [authentication.Identifier].
func (uc *UseCase) Identify(ctx context.Context, claims authentication.Claims) (authentication.User, error) {
	user, err := uc.deps.Users.ByID(ctx, claims.UserID)
	ended := claims.IssuedAt.Before(user.TokensValidAfter.Truncate(time.Second)) // tokens count in whole seconds
	if errors.Is(err, authentication.ErrUserNotFound) || err == nil && (!user.Active || ended) {
		return authentication.User{}, authentication.ErrUnauthenticated
	}
	return user, err
}
