package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// Promoter is the verb of the command line, which has a database and no secrets. It is safe for concurrent use.
type Promoter struct {
	tx    authentication.Transactor
	users authentication.UserRepository
	clock authentication.Clock
}

// NewPromoter returns a [Promoter]. It panics when a dependency is missing.
func NewPromoter(tx authentication.Transactor, users authentication.UserRepository, clock authentication.Clock) *Promoter {
	if tx == nil || users == nil || clock == nil {
		panic("authentication/usecase: NewPromoter needs a Transactor, a UserRepository and a Clock")
	}
	return &Promoter{tx, users, clock}
}

// Promote makes a registered user, verified or not, an administrator from their next login on. A second call changes
// nothing. Promote returns ErrInvalidEmail or ErrUserNotFound.
func (p *Promoter) Promote(ctx context.Context, email string) error {
	email, err := authentication.ParseEmail(email)
	if err != nil {
		return err
	}
	return p.tx.WithinTx(ctx, func(ctx context.Context) error {
		user, err := p.users.LockByEmail(ctx, email)
		if err != nil || user.Role == authentication.RoleAdmin {
			return err
		}
		user.Role = authentication.RoleAdmin
		user.UpdatedAt = p.clock.Now()
		return p.users.Update(ctx, user)
	})
}
