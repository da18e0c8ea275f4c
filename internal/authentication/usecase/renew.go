package usecase

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
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
		if !user.Admitted() || user.ID != c.UserID || !uc.deps.SessionPolicy.Living(session, now) {
			return authentication.ErrUnauthenticated
		}
		if session.Reused(c, now) {
			reused = session
			return uc.recordReuse(ctx, session, c) // which is committed, and refused below
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
		login, err = authentication.Login{}, cmp.Or(err, error(authentication.ErrUnauthenticated))
	}
	if err != nil {
		return authentication.Login{}, err
	}
	return login, nil
}

// recordReuse records once per token that a copy of it came back.
func (uc *UseCase) recordReuse(ctx context.Context, s authentication.Session, c authentication.Claims) error {
	return uc.deps.Audit.Record(ctx, audit.Entry{
		ID:        uuid.NewSHA1(uuid.NameSpaceOID, []byte("token.reused\x00"+s.ID+"\x00"+c.ID)).String(),
		Action:    audit.TokenReused,
		Outcome:   audit.Refused,
		UserID:    s.UserID,
		SubjectID: s.ID,
	})
}
