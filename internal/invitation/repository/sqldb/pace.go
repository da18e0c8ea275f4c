package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Pace is an [invitation.PaceRepository]: one row. It is safe for concurrent use.
type Pace struct{ db *database.DB }

// NewPace returns a repository on db.
func NewPace(db *database.DB) *Pace { return &Pace{db} }

const paceName = "invitations"

// Lock returns database.ErrNoTx outside a transaction.
func (r *Pace) Lock(ctx context.Context, now time.Time) (next time.Time, err error) {
	_, err = r.db.ExecTx(ctx, "invitation: storing the pace",
		"INSERT INTO mail_pace (name, next_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", paceName, database.Truncate(now))
	if err != nil {
		return next, err
	}
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT next_at FROM mail_pace WHERE name = $1"+r.db.Dialect().ForUpdate(),
		paceName).Scan(database.UTC(&next))
	return next, database.Wrap("invitation: reading the pace", err)
}

// LastDue returns the zero time when there is no batch.
func (r *Pace) LastDue(ctx context.Context) (at time.Time, err error) {
	// Not max(), whose type in SQLite is text.
	err = r.db.Conn(ctx).QueryRowContext(ctx,
		"SELECT last_due_at FROM invitation_batches ORDER BY last_due_at DESC LIMIT 1").Scan(database.UTC(&at))
	return at, database.WrapRow("invitation: reading when the last mail of all batches is due", err, nil)
}

// Save returns database.ErrNoTx outside a transaction.
func (r *Pace) Save(ctx context.Context, next time.Time) error {
	_, err := r.db.ExecTx(ctx, "invitation: storing the pace",
		"UPDATE mail_pace SET next_at = $2 WHERE name = $1", paceName, database.Truncate(next))
	return err
}
