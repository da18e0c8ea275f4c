package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// PromoterDeps are the dependencies of a [Promoter]. All are required.
type PromoterDeps struct {
	Tx    authentication.Transactor
	Users authentication.UserRepository
	Clock authentication.Clock
}

// Promoter is the verb of the command line, which has a database and no secrets. It is safe for concurrent use.
type Promoter struct{ deps PromoterDeps }

// NewPromoter returns a [Promoter].
func NewPromoter(d PromoterDeps) *Promoter { return &Promoter{deps: d} }

// Promote makes a registered user, verified or not, an administrator from their next request on. Tokens of theirs that
// belong to no session end. A second call changes nothing. Promote returns ErrInvalidEmail or ErrUserNotFound.
func (p *Promoter) Promote(ctx context.Context, email string) error {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return err
	}
	return p.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := p.deps.Users.LockByEmail(ctx, email)
		if err != nil || user.Role == authentication.RoleAdmin {
			return err
		}
		user.Role = authentication.RoleAdmin
		now := p.deps.Clock.Now()
		user.TokensValidAfter, user.UpdatedAt = now, now
		return p.deps.Users.Update(ctx, user)
	})
}
