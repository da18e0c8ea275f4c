package legacy

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// How long a token without a session is taken, counted from when it was issued: one of the previous release, and one that
// this release issued before it had sessions.
const (
	previousTokenLife = 7 * 24 * time.Hour
	ownTokenLife      = 30 * 24 * time.Hour
	// endedSlack is by how much such a token has to be younger than users.tokens_valid_after: old pods have clocks of
	// their own.
	endedSlack = time.Minute
)

// IdentifierDeps are the dependencies of an [Identifier]. All are required.
type IdentifierDeps struct {
	Next  authentication.Identifier // for tokens that belong to a session
	Users authentication.UserRepository
	DB    *database.DB
	Clock authentication.Clock
}

// Identifier is an [authentication.Identifier] that also takes tokens which belong to no session, as long as a login on
// the previous release has to be worth something here. Safe for concurrent use.
type Identifier struct{ deps IdentifierDeps }

// NewIdentifier returns an [Identifier].
func NewIdentifier(d IdentifierDeps) *Identifier { return &Identifier{d} }

// Identify implements [authentication.Identifier].
func (i *Identifier) Identify(ctx context.Context, c authentication.Claims) (authentication.Identity, error) {
	if c.SessionID != "" {
		return i.deps.Next.Identify(ctx, c)
	}
	life := previousTokenLife
	if c.Ours {
		life = ownTokenLife
	}
	if i.deps.Clock.Now().Sub(c.IssuedAt) > life {
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	user, err := i.deps.Users.ByID(ctx, c.UserID)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.Identity{}, err
	}
	tooOld := !user.TokensValidAfter.IsZero() && !c.IssuedAt.After(user.TokensValidAfter.Add(endedSlack))
	if err != nil || !user.Admitted() || tooOld {
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	var ended bool
	err = i.deps.DB.Conn(ctx).QueryRowContext(ctx,
		"SELECT EXISTS (SELECT 1 FROM ended_tokens WHERE user_id = $1 AND jti = $2)", database.UUID(c.UserID), c.ID).Scan(&ended)
	if err != nil {
		return authentication.Identity{}, database.Wrap("legacy: looking for an ended token", err)
	}
	if ended {
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	return authentication.Identity{User: user}, nil
}

// SessionsDeps are the dependencies of [Sessions]. All are required.
type SessionsDeps struct {
	authentication.SessionRepository // has the sessions
	DB                               *database.DB
}

// Sessions is an [authentication.SessionRepository] that remembers tokens which belong to no session and have been ended,
// until they expire. Safe for concurrent use.
type Sessions struct{ SessionsDeps }

// NewSessions returns a decorator of the repository in d.
func NewSessions(d SessionsDeps) *Sessions { return &Sessions{d} }

// EndTokens implements [authentication.SessionRepository].
func (s *Sessions) EndTokens(ctx context.Context, tokens []authentication.Claims, now time.Time) error {
	for _, c := range tokens {
		if c.SessionID != "" || !now.Before(c.ExpiresAt) {
			continue
		}
		_, err := s.DB.Exec(ctx, "legacy: ending a token",
			"INSERT INTO ended_tokens (user_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			database.UUID(c.UserID), c.ID, database.Truncate(c.ExpiresAt))
		if err != nil {
			return err
		}
	}
	return s.SessionRepository.EndTokens(ctx, tokens, now)
}

// PurgeEndedTokens removes what is remembered of tokens that had expired before then.
func PurgeEndedTokens(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	return db.Purge(ctx, "legacy: purging ended tokens",
		database.Purge{Table: "ended_tokens", Key: "user_id, jti", Oldest: "expires_at", Where: "expires_at < $1"}, database.Truncate(then))
}
