package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// Promoter is the verb of the command line, which has a database and no secrets. Safe for concurrent use.
type Promoter struct {
	tx    authentication.Transactor
	users authentication.UserRepository
	clock authentication.Clock
}

// NewPromoter panics when a dependency is missing.
func NewPromoter(tx authentication.Transactor, users authentication.UserRepository, clock authentication.Clock) *Promoter {
	if tx == nil || users == nil || clock == nil {
		panic("authentication/usecase: NewPromoter needs a Transactor, a UserRepository and a Clock")
	}
	return &Promoter{tx, users, clock}
}

// Promote makes a registered user, verified or not, an administrator from his next login on; a second time changes
// nothing. It answers ErrInvalidEmail or ErrUserNotFound.
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
		user.Role, user.UpdatedAt = authentication.RoleAdmin, p.clock.Now()
		return p.users.Update(ctx, user)
	})
}
