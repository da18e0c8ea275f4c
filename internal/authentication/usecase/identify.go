package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// Identify implements [authentication.Identifier]. That the session is in use is stored once a minute; a failure of that
// fails no request, and shows in the database's own health.
func (uc *UseCase) Identify(ctx context.Context, c authentication.Claims) (authentication.Identity, error) {
	if c.SessionID == "" {
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	session, user, err := uc.deps.Sessions.Find(ctx, c.SessionID)
	if err != nil {
		return authentication.Identity{}, unauthenticated(err)
	}
	now := uc.deps.Clock.Now()
	if !user.Admitted() || user.ID != c.UserID || !uc.deps.SessionPolicy.Living(session, now) {
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	if session.Unseen(now, c.IssuedAt) {
		_ = uc.deps.Sessions.Seen(ctx, session.ID, now, c.IssuedAt)
	}
	return authentication.Identity{User: user, Session: session, Stale: c.Stale(user, now)}, nil
}

// unauthenticated turns ErrSessionNotFound into ErrUnauthenticated.
func unauthenticated(err error) error {
	if errors.Is(err, authentication.ErrSessionNotFound) {
		return authentication.ErrUnauthenticated
	}
	return err
}
