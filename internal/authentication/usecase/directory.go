package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

// DirectoryDeps are the dependencies of a [Directory]. All are required.
type DirectoryDeps struct {
	Tx    authentication.Transactor
	Users authentication.UserDirectory
	Audit audit.Recorder
	Clock authentication.Clock
}

// Directory shows users, and changes what they say of themselves. It is safe for concurrent use.
type Directory struct{ deps DirectoryDeps }

// NewDirectory returns a [Directory].
func NewDirectory(d DirectoryDeps) *Directory { return &Directory{d} }

// List returns the users that f selects, and how many there are without its Limit and Offset. It returns ErrForbidden
// unless the actor is an administrator.
func (d *Directory) List(
	ctx context.Context, actor authentication.Actor, f authentication.UserFilter,
) (users []authentication.User, total int, err error) {
	if !actor.Admin {
		return nil, 0, authentication.ErrForbidden
	}
	return d.deps.Users.List(ctx, f)
}

// Find returns a user. It returns ErrForbidden unless the actor is an administrator, and ErrNoUser.
func (d *Directory) Find(ctx context.Context, actor authentication.Actor, id string) (authentication.User, error) {
	if !actor.Admin {
		return authentication.User{}, authentication.ErrForbidden
	}
	return d.FindForService(ctx, id)
}

// FindForService is Find for another service. Its caller has checked the key of that service.
func (d *Directory) FindForService(ctx context.Context, id string) (authentication.User, error) {
	user, err := d.deps.Users.ByID(ctx, id)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, authentication.ErrNoUser
	}
	return user, err
}
