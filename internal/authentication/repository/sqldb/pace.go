package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Pace is an authentication.PaceRepository: one row. Safe for concurrent use.
type Pace struct{ db *database.DB }

// NewPace answers a repository on db.
func NewPace(db *database.DB) *Pace { return &Pace{db} }

const paceName = "invitations"

// Lock answers database.ErrNoTx outside a transaction.
func (r *Pace) Lock(ctx context.Context, now time.Time) (next time.Time, err error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return next, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO mail_pace (name, next_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
		paceName, stored(now))
	if err != nil {
		return next, wrap("storing the pace", err)
	}
	err = tx.QueryRowContext(ctx, "SELECT next_at FROM mail_pace WHERE name = $1"+r.db.Dialect().ForUpdate(), paceName).Scan(&next)
	return next.UTC(), wrap("reading the pace", err)
}

// Save answers database.ErrNoTx outside a transaction.
func (r *Pace) Save(ctx context.Context, next time.Time) error {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE mail_pace SET next_at = $2 WHERE name = $1", paceName, stored(next))
	return wrap("storing the pace", err)
}
