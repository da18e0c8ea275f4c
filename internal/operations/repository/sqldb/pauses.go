// Package sqldb stores what operators have asked for in PostgreSQL or SQLite.
package sqldb

import (
	"context"

	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/pkg/database"
)

// LanePauses is an [operations.LanePauses]. It is safe for concurrent use.
type LanePauses struct{ db *database.DB }

var _ operations.LanePauses = (*LanePauses)(nil)

// NewLanePauses returns a repository on db.
func NewLanePauses(db *database.DB) *LanePauses { return &LanePauses{db} }

const (
	columns = "queue, paused_by, reason, since"
	reading = "operations: reading the pauses of lanes"
)

// Add implements [operations.LanePauses].
func (r *LanePauses) Add(ctx context.Context, p operations.LanePause) (bool, error) {
	n, err := r.db.ExecTx(ctx, "operations: pausing a lane",
		"INSERT INTO lane_pauses ("+columns+") VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		p.Queue, p.By, p.Reason, database.Truncate(p.Since))
	return n == 1, err
}

// Remove implements [operations.LanePauses].
func (r *LanePauses) Remove(ctx context.Context, queue string) (operations.LanePause, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return operations.LanePause{}, err
	}
	p, err := scan(tx.QueryRowContext(ctx, "DELETE FROM lane_pauses WHERE queue = $1 RETURNING "+columns, queue))
	return p, database.WrapRow("operations: resuming a lane", err, operations.ErrNotPaused)
}

// Of implements [operations.LanePauses].
func (r *LanePauses) Of(ctx context.Context, queue string) (operations.LanePause, error) {
	p, err := scan(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+columns+" FROM lane_pauses WHERE queue = $1", queue))
	return p, database.WrapRow(reading, err, operations.ErrNotPaused)
}

// All implements [operations.LanePauses].
func (r *LanePauses) All(ctx context.Context) ([]operations.LanePause, error) {
	return database.All(ctx, r.db, reading, scan, "SELECT "+columns+" FROM lane_pauses ORDER BY queue")
}

func scan(row database.Row) (p operations.LanePause, err error) {
	err = row.Scan(&p.Queue, &p.By, &p.Reason, database.UTC(&p.Since))
	return p, err
}
