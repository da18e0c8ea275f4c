package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// UpdateProfile changes what user, as just read, says of themselves, and returns the user. What stays as it is passes
// unchecked: the previous release stored what is refused today. UpdateProfile returns ErrProfile for what cannot be
// stored, and ErrUnauthenticated when the account has just been deleted.
func (d *Directory) UpdateProfile(
	ctx context.Context, user authentication.User, p authentication.Profile,
) (authentication.User, error) {
	p, err := p.Changes(user)
	if err != nil {
		return authentication.User{}, err
	}
	if p == (authentication.Profile{}) {
		return user, nil
	}
	changed, err := d.deps.Users.UpdateProfile(ctx, user.ID, p, d.deps.Clock.Now())
	if errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, authentication.ErrUnauthenticated
	}
	return changed, err
}
