package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// CodeRequests is an [authentication.CodeRequestRepository]. It is safe for concurrent use.
type CodeRequests struct{ db *database.DB }

// NewCodeRequests returns a repository on db.
func NewCodeRequests(db *database.DB) *CodeRequests { return &CodeRequests{db} }

const (
	selectRequests = `SELECT id, purpose, email, user_id, locale, network, COALESCE(password_hash, ''), password_tag,
	created_at, digest, event_id, wrong_tries, code_at, expires_at, used_at
FROM code_requests `
	newestFirst = " ORDER BY code_at DESC, id DESC"
)

// OfAddress returns the requests for an address, locked. It returns database.ErrNoTx outside a transaction.
func (r *CodeRequests) OfAddress(
	ctx context.Context, email string, purpose authentication.Purpose,
) ([]authentication.CodeRequest, error) {
	return r.locked(ctx, "lower(email) = lower($1) AND purpose = $2", email, string(purpose))
}

// OfBrowser is OfAddress for the requests to which one of the browsers is bound.
func (r *CodeRequests) OfBrowser(
	ctx context.Context, email string, purpose authentication.Purpose, browsers [][]byte,
) ([]authentication.CodeRequest, error) {
	where, args := ofBrowser(email, purpose, browsers)
	return r.locked(ctx, where, args...)
}

// Bound reports whether OfBrowser would return any. It writes nothing, not even a lock.
func (r *CodeRequests) Bound(
	ctx context.Context, email string, purpose authentication.Purpose, browsers [][]byte,
) (bound bool, err error) {
	where, args := ofBrowser(email, purpose, browsers)
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM code_requests WHERE "+where+")", args...).Scan(&bound)
	return bound, database.Wrap("authentication: looking for requests of a browser", err)
}

func ofBrowser(email string, purpose authentication.Purpose, browsers [][]byte) (where string, args []any) {
	args = []any{email, string(purpose)}
	for _, digest := range browsers {
		args = append(args, digest)
	}
	if len(browsers) == 0 {
		args = append(args, []byte{}) // no browser has it: the statement is the same for those without one
	}
	return `lower(email) = lower($1) AND purpose = $2 AND EXISTS (
	SELECT 1 FROM code_request_browsers b WHERE b.request_id = code_requests.id
	AND b.digest IN (` + database.Placeholders(3, len(args)-2) + "))", args
}

func (r *CodeRequests) locked(ctx context.Context, where string, args ...any) ([]authentication.CodeRequest, error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	return r.all(ctx, where, r.db.Dialect().ForUpdate(), args...)
}

func (r *CodeRequests) all(
	ctx context.Context, where, lock string, args ...any,
) ([]authentication.CodeRequest, error) {
	return database.All(ctx, r.db, "authentication: reading requests for codes", scanRequest,
		selectRequests+"WHERE "+where+newestFirst+lock, args...)
}

// OfPassword returns the requests for a verification that have one of the tags and whose code has not been used, not
// locked.
func (r *CodeRequests) OfPassword(
	ctx context.Context, email string, tags []uint16,
) ([]authentication.CodeRequest, error) {
	args := []any{email, string(authentication.PurposeVerification)}
	for _, tag := range tags {
		args = append(args, int(tag))
	}
	return r.all(ctx, `lower(email) = lower($1) AND purpose = $2 AND password_tag IN (`+
		database.Placeholders(3, len(tags))+") AND password_hash IS NOT NULL AND used_at IS NULL", "", args...)
}

// All returns the requests for an address, whatever their purpose, not locked.
func (r *CodeRequests) All(ctx context.Context, email string) ([]authentication.CodeRequest, error) {
	return r.all(ctx, "lower(email) = lower($1)", "", email)
}

// ByEvent returns ErrCodeNotFound when no request has a code with this event. In a transaction it locks the request.
func (r *CodeRequests) ByEvent(ctx context.Context, eventID string) (authentication.CodeRequest, error) {
	lock := ""
	if _, err := r.db.Tx(ctx); err == nil {
		lock = r.db.Dialect().ForUpdate()
	}
	found, err := r.all(ctx, "event_id = $1", lock, eventID)
	if err != nil {
		return authentication.CodeRequest{}, err
	}
	if len(found) == 0 {
		return authentication.CodeRequest{}, authentication.ErrCodeNotFound
	}
	return found[0], nil
}

// Save stores q in place of the request with its id. It returns database.ErrNoTx outside a transaction: a code belongs
// together with its event.
func (r *CodeRequests) Save(ctx context.Context, q authentication.CodeRequest) error {
	_, err := r.db.ExecTx(ctx, "authentication: storing a request for a code", `INSERT INTO code_requests
(id, purpose, email, user_id, locale, network, password_hash, password_tag, created_at,
	digest, event_id, wrong_tries, code_at, expires_at, used_at)
VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, ''), $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, event_id = excluded.event_id,
	wrong_tries = excluded.wrong_tries, code_at = excluded.code_at, expires_at = excluded.expires_at,
	used_at = excluded.used_at`,
		q.ID, string(q.Purpose), q.Email, sql.NullString{String: q.UserID, Valid: q.UserID != ""}, q.Locale, q.Network,
		q.PasswordHash, int(q.PasswordTag),
		database.Truncate(q.CreatedAt), q.Code.Digest, q.Code.EventID, q.Code.WrongTries,
		database.Truncate(q.Code.CreatedAt), database.Truncate(q.Code.ExpiresAt), database.NullTime(q.Code.UsedAt))
	return err
}

// Bind lets the browser with this digest spend the codes of a request. A second call changes nothing.
func (r *CodeRequests) Bind(ctx context.Context, requestID string, browser []byte) error {
	_, err := r.db.ExecTx(ctx, "authentication: binding a browser", `INSERT INTO code_request_browsers
(request_id, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING`, requestID, browser)
	return err
}

// Delete removes requests and what is bound to them.
func (r *CodeRequests) Delete(ctx context.Context, ids []string) error {
	args, in := database.In(append(slices.Clone(ids), uuid.Nil.String())) // no request has it: the statement is the same without any id
	_, err := r.db.ExecTx(ctx, "authentication: removing requests for codes",
		"DELETE FROM code_requests WHERE id IN ("+in+")", args...)
	return err
}

// PurgeOlderThan removes requests whose newest code was asked for before then.
func (r *CodeRequests) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return r.db.Purge(ctx, "authentication: purging requests for codes",
		database.Purge{Table: "code_requests", Key: "id", Oldest: "code_at", Where: "code_at < $1"}, database.Truncate(then))
}

func scanRequest(row database.Row) (q authentication.CodeRequest, err error) {
	var user sql.NullString
	err = row.Scan(&q.ID, &q.Purpose, &q.Email, &user, &q.Locale, &q.Network, &q.PasswordHash, &q.PasswordTag, database.UTC(&q.CreatedAt),
		&q.Code.Digest, &q.Code.EventID, &q.Code.WrongTries,
		database.UTC(&q.Code.CreatedAt), database.UTC(&q.Code.ExpiresAt), database.UTC(&q.Code.UsedAt))
	q.UserID = user.String
	return q, err
}
