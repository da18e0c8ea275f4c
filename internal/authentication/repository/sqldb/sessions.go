package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Sessions is an [authentication.SessionRepository]. It is safe for concurrent use.
type Sessions struct{ db *database.DB }

// NewSessions returns a repository on db.
func NewSessions(db *database.DB) *Sessions { return &Sessions{db} }

const sessionColumns = `s.id, s.user_id, s.remember, s.device_name, s.user_agent, s.ip_address, s.network, s.created_at,
s.last_seen_at, s.expires_at, s.newest_iat, s.ended_at`

// selectSession reads a session and its user by two primary keys.
const selectSession = "SELECT " + sessionColumns + ", " + userColumns + `
FROM sessions s JOIN users ON users.id = s.user_id WHERE s.id = $1 AND users.deleted_at IS NULL`

// Create inserts a session.
func (r *Sessions) Create(ctx context.Context, s authentication.Session) error {
	_, err := r.db.Exec(ctx, "authentication: opening a session", `INSERT INTO sessions (id, user_id, remember, device_name,
user_agent, ip_address, network, created_at, last_seen_at, expires_at, newest_iat)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		s.ID, s.UserID, s.Remember, s.Device, s.UserAgent, s.IP, s.Network, database.Truncate(s.CreatedAt),
		database.Truncate(s.LastSeenAt), database.Truncate(s.ExpiresAt), database.Truncate(s.NewestIAT))
	return err
}

// Find returns ErrSessionNotFound when there is none, or its user was deleted.
func (r *Sessions) Find(ctx context.Context, id string) (authentication.Session, authentication.User, error) {
	return scanSessionWithUser(r.db.Conn(ctx).QueryRowContext(ctx, selectSession, database.UUID(id)))
}

// Lock is Find that holds the session's row until the transaction ends. It returns database.ErrNoTx outside a transaction.
func (r *Sessions) Lock(ctx context.Context, id string) (authentication.Session, authentication.User, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return authentication.Session{}, authentication.User{}, err
	}
	return scanSessionWithUser(tx.QueryRowContext(ctx, selectSession+r.db.Dialect().ForUpdateOf("s"), database.UUID(id)))
}

// Seen writes nothing when another request has done so within the minute.
func (r *Sessions) Seen(ctx context.Context, id string, now, issuedAt time.Time) error {
	_, err := r.db.Exec(ctx, "authentication: using a session", `UPDATE sessions
SET last_seen_at = CASE WHEN last_seen_at <= $4 THEN $2 ELSE last_seen_at END,
	newest_iat = CASE WHEN newest_iat < $3 THEN $3 ELSE newest_iat END
WHERE id = $1 AND ended_at IS NULL AND (last_seen_at <= $4 OR newest_iat < $3)`,
		database.UUID(id), database.Truncate(now), database.Truncate(issuedAt),
		database.Truncate(now.Add(-authentication.SeenEvery)))
	return err
}

// EndTokens passes over tokens that name no session.
func (r *Sessions) EndTokens(ctx context.Context, tokens []authentication.Claims, now time.Time) error {
	for _, t := range tokens {
		if t.SessionID == "" {
			continue
		}
		_, err := r.db.Exec(ctx, "authentication: ending a session", `UPDATE sessions SET ended_at = $3
WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND (newest_iat <= $4 OR $5)`,
			database.UUID(t.SessionID), database.UUID(t.UserID), database.Truncate(now), database.Truncate(t.IssuedAt),
			now.Before(t.ExpiresAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// End returns ErrSessionNotFound when the user has no session with this id that is not over.
func (r *Sessions) End(ctx context.Context, userID, id string, now time.Time) error {
	n, err := r.db.Exec(ctx, "authentication: ending a session", `UPDATE sessions SET ended_at = $3
WHERE id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3`,
		database.UUID(id), database.UUID(userID), database.Truncate(now))
	if err == nil && n == 0 {
		return authentication.ErrSessionNotFound
	}
	return err
}

// EndOthers ends every session of the user but one.
func (r *Sessions) EndOthers(ctx context.Context, userID, exceptID string, now time.Time) error {
	_, err := r.db.Exec(ctx, "authentication: ending sessions", `UPDATE sessions SET ended_at = $3
WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL`,
		database.UUID(userID), database.UUID(exceptID), database.Truncate(now))
	return err
}

// EndAll ends every session, and every token of before: users.tokens_valid_after ends those without one.
func (r *Sessions) EndAll(ctx context.Context, now time.Time) (int64, error) {
	const doing = "authentication: ending all sessions"
	if _, err := r.db.ExecTx(ctx, doing, "UPDATE users SET tokens_valid_after = $1 WHERE deleted_at IS NULL",
		database.Truncate(now)); err != nil {
		return 0, err
	}
	return r.db.Exec(ctx, doing, "UPDATE sessions SET ended_at = $1 WHERE ended_at IS NULL AND expires_at > $1",
		database.Truncate(now))
}

// List returns sessions that nobody has ended and that have not expired, the one used last first.
func (r *Sessions) List(
	ctx context.Context, userID string, now time.Time, limit int,
) ([]authentication.Session, error) {
	return database.All(ctx, r.db, "authentication: listing sessions", scanSession, "SELECT "+sessionColumns+` FROM sessions s
WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2 ORDER BY s.last_seen_at DESC, s.id DESC LIMIT $3`,
		database.UUID(userID), database.Truncate(now), limit)
}

// PurgeOlderThan removes sessions that were over, and last used, before then.
func (r *Sessions) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return r.db.Purge(ctx, "authentication: purging sessions", database.Purge{
		Table: "sessions", Key: "id", Oldest: "last_seen_at", Where: "last_seen_at < $1 AND COALESCE(ended_at, expires_at) < $1",
	}, database.Truncate(then))
}

// sessionFields returns where to scan sessionColumns to.
func sessionFields(s *authentication.Session) []any {
	return []any{
		&s.ID, &s.UserID, &s.Remember, &s.Device, &s.UserAgent, &s.IP, &s.Network, database.UTC(&s.CreatedAt),
		database.UTC(&s.LastSeenAt), database.UTC(&s.ExpiresAt), database.UTC(&s.NewestIAT), database.UTC(&s.EndedAt),
	}
}

func scanSession(row database.Row) (s authentication.Session, err error) {
	return s, row.Scan(sessionFields(&s)...)
}

func scanSessionWithUser(row database.Row) (s authentication.Session, u authentication.User, err error) {
	u, err = scanUserBehind(row, sessionFields(&s)...)
	return s, u, database.WrapRow("authentication: reading a session", err, authentication.ErrSessionNotFound)
}
