package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// Pace implements [subscription.PaceRepository]: one row for all processes.
type Pace struct {
	db   *database.DB
	name string
}

// NewPace returns a repository on db, of the turns at what name says.
func NewPace(db *database.DB, name string) *Pace { return &Pace{db, name} }

var _ subscription.PaceRepository = (*Pace)(nil)

// OverduePace names the turns at ending subscriptions whose end has passed long ago.
const OverduePace = "overdue subscriptions"

// Grant implements [subscription.PaceRepository].
func (r *Pace) Grant(ctx context.Context, now time.Time, every time.Duration) (bool, error) {
	n, err := r.db.ExecTx(ctx, "subscription: taking the next turn", `INSERT INTO mail_pace (name, next_at) VALUES ($1, $3)
		ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at WHERE mail_pace.next_at <= $2`,
		r.name, database.Truncate(now), database.Truncate(now.Add(every)))
	return n == 1, err
}
