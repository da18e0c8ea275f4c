package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

// EndSessions ends every session of a user, and every token of theirs that belongs to none. It returns ErrForbidden or
// ErrNoUser.
func (a *Administration) EndSessions(ctx context.Context, actor authentication.Actor, userID string) error {
	_, err := a.change(ctx, actor, userID, "", func(ctx context.Context, user *administered, now time.Time) error {
		user.TokensValidAfter, user.UpdatedAt = now, now
		if err := a.deps.Users.Update(ctx, user.User); err != nil {
			return err
		}
		if err := a.deps.Sessions.EndOthers(ctx, user.ID, "", now); err != nil {
			return err
		}
		return a.record(ctx, actor, audit.SessionsEnded, user.ID, "")
	})
	return err
}

// EndAllSessions ends the sessions of everybody, and returns how many there were. It returns ErrForbidden.
func (a *Administration) EndAllSessions(ctx context.Context, actor authentication.Actor) (ended int64, err error) {
	if !actor.Admin {
		return 0, authentication.ErrForbidden
	}
	err = a.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if ended, err = a.deps.Sessions.EndAll(ctx, a.deps.Clock.Now()); err != nil {
			return err
		}
		return a.record(ctx, actor, audit.SessionsEnded, "", "all of all users")
	})
	return ended, err
}
