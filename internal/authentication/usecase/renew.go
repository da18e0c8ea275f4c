package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/authentication"
)

// Renew returns the user of a token that came as a cookie, expired or not, with a new token where it is stale; else with
// the zero Token. The session goes on: a new token does not lengthen what it has left at most. An expired token older than
// one that has been presented is refused, and reported as a copy.
//
// Renew returns ErrUnauthenticated as Identify does.
func (uc *UseCase) Renew(ctx context.Context, c authentication.Claims) (authentication.Login, error) {
	if c.SessionID == "" {
		return authentication.Login{}, authentication.ErrUnauthenticated
	}
	var login authentication.Login
	var reused authentication.Session
	err := uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		reused = authentication.Session{}
		session, user, err := uc.deps.Sessions.Lock(ctx, c.SessionID)
		if err != nil {
			return unauthenticated(err)
		}
		now := uc.deps.Clock.Now()
		if !user.Active || user.ID != c.UserID || !uc.deps.SessionPolicy.Living(session, now) {
			return authentication.ErrUnauthenticated
		}
		if session.Reused(c, now) {
			reused = session
			return authentication.ErrUnauthenticated
		}
		login = authentication.Login{User: user}
		if !c.Stale(user, now) {
			return nil
		}
		if login.Token, err = uc.issue(user, session, now); err != nil {
			return err
		}
		return uc.deps.Sessions.Seen(ctx, session.ID, now, c.IssuedAt)
	})
	if reused.ID != "" {
		uc.deps.Reused(ctx, reused)
	}
	if err != nil {
		return authentication.Login{}, err
	}
	return login, nil
}
