package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

// maxListed is how many sessions a user is shown.
const maxListed = 100

// Sessions returns the living sessions of a user, the one used last first, 100 at most.
func (uc *UseCase) Sessions(ctx context.Context, userID string) ([]authentication.Session, error) {
	now := uc.deps.Clock.Now()
	found, err := uc.deps.Sessions.List(ctx, userID, now, maxListed)
	if err != nil {
		return nil, err
	}
	living := make([]authentication.Session, 0, len(found))
	for _, s := range found {
		if uc.deps.SessionPolicy.Living(s, now) {
			living = append(living, s)
		}
	}
	return living, nil
}

// EndSession ends a session of the user. It returns ErrSessionNotFound, also for another user's.
func (uc *UseCase) EndSession(ctx context.Context, userID, id string) error {
	return uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if err := uc.deps.Sessions.End(ctx, userID, id, uc.deps.Clock.Now()); err != nil {
			return err
		}
		return uc.deps.Audit.Record(ctx, audit.Entry{
			Action:    audit.SessionEnded,
			ActorID:   userID,
			UserID:    userID,
			SubjectID: id,
		})
	})
}

// EndOtherSessions ends every session of the caller but the present one, and every token of theirs that belongs to no
// session. Where their own is one of those it opens a session in its place; else the Login has no token.
func (uc *UseCase) EndOtherSessions(
	ctx context.Context, who authentication.Identity, client authentication.Client,
) (authentication.Login, error) {
	var login authentication.Login
	err := uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := uc.deps.Users.LockByID(ctx, who.User.ID)
		if errors.Is(err, authentication.ErrUserNotFound) || err == nil && !user.Admitted() {
			return authentication.ErrUnauthenticated
		}
		if err != nil {
			return err
		}
		login = authentication.Login{User: user}
		now := uc.deps.Clock.Now()
		user.TokensValidAfter, user.UpdatedAt = now, now
		if err := uc.deps.Users.Update(ctx, user); err != nil {
			return err
		}
		if err := uc.record(ctx, audit.SessionsEnded, user.ID); err != nil {
			return err
		}
		if err := uc.endSessions(ctx, user, who.Session.ID); err != nil || who.Session.ID != "" {
			return err
		}
		login, err = uc.openSession(ctx, user, false, client)
		return err
	})
	if err != nil {
		return authentication.Login{}, err
	}
	return login, nil
}

// Logout ends what tokens stand for, on the server.
func (uc *UseCase) Logout(ctx context.Context, tokens []authentication.Claims) error {
	return uc.endTokens(ctx, tokens, uc.deps.Clock.Now())
}
