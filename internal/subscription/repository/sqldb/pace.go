package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// Pace implements [subscription.PaceRepository]: one row for all processes.
type Pace struct{ db *database.DB }

// NewPace returns a repository on db.
func NewPace(db *database.DB) *Pace { return &Pace{db} }

var _ subscription.PaceRepository = (*Pace)(nil)

const paceName = "overdue subscriptions"

// Grant implements [subscription.PaceRepository].
func (r *Pace) Grant(ctx context.Context, now time.Time, every time.Duration) (bool, error) {
	now = database.Truncate(now)
	if _, err := r.db.ExecTx(ctx, "subscription: storing the pace",
		"INSERT INTO mail_pace (name, next_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", paceName, now); err != nil {
		return false, err
	}
	n, err := r.db.ExecTx(ctx, "subscription: taking the next turn",
		"UPDATE mail_pace SET next_at = $3 WHERE name = $1 AND next_at <= $2", paceName, now, now.Add(every))
	return n == 1, err
}
