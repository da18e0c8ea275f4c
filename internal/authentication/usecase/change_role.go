package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

// ChangeRole gives a user, verified or not, another role from their next request on. Tokens of theirs that belong to no
// session end. A second call changes nothing. It returns ErrForbidden, ErrNoUser, ErrLastAdmin, or ErrProfile for what is no
// role.
func (a *Administration) ChangeRole(
	ctx context.Context, actor authentication.Actor, userID string, role authentication.Role,
) (authentication.User, error) {
	if actor.Admin && role != authentication.RoleUser && role != authentication.RoleAdmin {
		return authentication.User{}, authentication.ErrProfile.WithFields(map[string]string{"role": "must be USER or ADMIN"})
	}
	return a.change(ctx, actor, userID, "", func(ctx context.Context, user *administered, now time.Time) error {
		if user.Role == role {
			return nil
		}
		if user.last() {
			return authentication.ErrLastAdmin
		}
		change := string(user.Role + " to " + role)
		user.Role, user.TokensValidAfter, user.UpdatedAt = role, now, now
		if err := a.deps.Users.Update(ctx, user.User); err != nil {
			return err
		}
		return a.record(ctx, actor, audit.UserRoleChanged, user.ID, change)
	})
}
