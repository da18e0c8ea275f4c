package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/audit"
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
	var changed authentication.User
	err = d.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if changed, err = d.deps.Users.UpdateProfile(ctx, user.ID, p, d.deps.Clock.Now()); err != nil {
			return err
		}
		return d.deps.Audit.Record(ctx, audit.Entry{Action: audit.UserProfileChanged, ActorID: user.ID, UserID: user.ID})
	})
	if errors.Is(err, authentication.ErrUserNotFound) {
		err = authentication.ErrUnauthenticated
	}
	if err != nil {
		return authentication.User{}, err
	}
	return changed, nil
}
