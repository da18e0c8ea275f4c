package usecase

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// openSession opens a session of the user, and ends those whose tokens the client has brought along. It belongs into the
// transaction that holds the proof and the user's lock: a password that has been changed meanwhile must open none.
func (uc *UseCase) openSession(
	ctx context.Context, user authentication.User, remember bool, client authentication.Client,
) (authentication.Login, error) {
	now := uc.deps.Clock.Now()
	session := uc.deps.SessionPolicy.Open(uuid.Must(uuid.NewV7()).String(), user.ID, remember, client, now)
	if err := uc.deps.Sessions.Create(ctx, session); err != nil {
		return authentication.Login{}, err
	}
	if err := uc.endTokens(ctx, client.Tokens, now); err != nil {
		return authentication.Login{}, err
	}
	token, err := uc.issue(user, session, now)
	return authentication.Login{User: user, Token: token}, err
}

// issue returns a token of a session that is in use now. Asking the clock again would take a second from the cookie.
func (uc *UseCase) issue(
	user authentication.User, session authentication.Session, now time.Time,
) (authentication.Token, error) {
	policy := uc.deps.SessionPolicy
	value, err := uc.deps.Tokens.Issue(user, session.ID, now, now.Add(policy.TokenLife(session, now)))
	if err != nil {
		return authentication.Token{}, err
	}
	return authentication.Token{Value: value, Lifetime: policy.Left(session, now)}, nil
}

// endTokens ends what tokens stand for, always in the same order: two transactions may end the same sessions.
func (uc *UseCase) endTokens(ctx context.Context, tokens []authentication.Claims, now time.Time) error {
	if len(tokens) == 0 {
		return nil
	}
	ordered := slices.SortedFunc(slices.Values(tokens), func(a, b authentication.Claims) int {
		return strings.Compare(a.SessionID, b.SessionID)
	})
	return uc.deps.Sessions.EndTokens(ctx, ordered, now)
}

// endSessions ends every session of a user but one, with "" every one, in the transaction that holds the user's lock. The
// caller stores TokensValidAfter, which ends tokens that belong to no session.
func (uc *UseCase) endSessions(ctx context.Context, user authentication.User, exceptID string) error {
	return uc.deps.Sessions.EndOthers(ctx, user.ID, exceptID, uc.deps.Clock.Now())
}
