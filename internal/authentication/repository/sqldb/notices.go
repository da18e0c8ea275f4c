package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Notices is an [authentication.NoticeRepository]. It is safe for concurrent use.
type Notices struct{ db *database.DB }

// NewNotices returns a repository on db.
func NewNotices(db *database.DB) *Notices { return &Notices{db} }

// Claim reports whether eventID may send the user a notice.
func (r *Notices) Claim(ctx context.Context, userID, eventID string, now, since time.Time) (bool, error) {
	n, err := r.db.Exec(ctx, "authentication: claiming a notice", `INSERT INTO account_notices
(user_id, event_id, claimed_at) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET event_id = excluded.event_id, claimed_at = excluded.claimed_at
WHERE account_notices.claimed_at <= $4 OR account_notices.event_id = excluded.event_id`,
		database.UUID(userID), eventID, database.Truncate(now), database.Truncate(since))
	return n > 0, err
}

// PurgeOlderThan removes claims that were made before then.
func (r *Notices) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return r.db.Purge(ctx, "authentication: purging notices",
		database.Purge{Table: "account_notices", Key: "user_id", Oldest: "claimed_at", Where: "claimed_at < $1"}, database.Truncate(then))
}
