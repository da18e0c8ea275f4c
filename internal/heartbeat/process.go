// Package heartbeat owns the table of this service's processes: each writes a row at its start, renews it while it lives
// and closes it when it stops. Operators' commands read the table to learn who runs.
//
// It promises no more than a heartbeat can: a process that was killed counts as alive for [AliveFor], and one that
// cannot reach the database is not seen. Nothing on the path of a request or an event depends on it.
package heartbeat

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// AliveFor is how long after its last heartbeat a process that did not stop in order counts as alive: a little more
// than four beats.
const AliveFor = 45 * time.Second

// Process is one process of this service as its heartbeat describes it. Times are UTC, by the database's clock.
type Process struct {
	ID        string     `json:"id"` // minted at its start: a restart is another process
	Role      string     `json:"role"`
	Version   string     `json:"version"`
	Note      string     `json:"phase"` // what the process was told to note of itself; this package does not read it
	Report    string     `json:"-"`     // what the process last said of itself; the same
	StartedAt time.Time  `json:"started_at"`
	SeenAt    time.Time  `json:"seen_at"`
	StoppedAt *time.Time `json:"stopped_at,omitempty"` // set by an orderly stop
}

// Alive reports whether p counts as running at now.
func (p Process) Alive(now time.Time) bool {
	return p.StoppedAt == nil && now.Sub(p.SeenAt) <= AliveFor
}

// List returns the processes that were seen at since or later, alive or not, by role and start.
func List(ctx context.Context, db *database.DB, since time.Time) ([]Process, error) {
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		SELECT id, role, version, phase, report, started_at, seen_at, stopped_at FROM processes WHERE seen_at >= $1
		ORDER BY role, started_at, id`, since.UTC())
	if err != nil {
		return nil, fmt.Errorf("heartbeat: listing: %w", err)
	}
	defer rows.Close()
	all := []Process{}
	for rows.Next() {
		var p Process
		if err := rows.Scan(&p.ID, &p.Role, &p.Version, &p.Note, &p.Report, &p.StartedAt, &p.SeenAt, &p.StoppedAt); err != nil {
			return nil, fmt.Errorf("heartbeat: listing: %w", err)
		}
		p.StartedAt = p.StartedAt.UTC()
		p.SeenAt = p.SeenAt.UTC()
		if p.StoppedAt != nil {
			p.StoppedAt = new(p.StoppedAt.UTC())
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("heartbeat: listing: %w", err)
	}
	return all, nil
}

// Purge deletes the processes that were last seen before then and returns how many. One that is alive comes back with
// its next beat.
func Purge(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "DELETE FROM processes WHERE seen_at < $1", then.UTC())
	if err != nil {
		return 0, fmt.Errorf("heartbeat: purging: %w", err)
	}
	return result.RowsAffected()
}

// save stores p, or what changes of it.
func save(ctx context.Context, db *database.DB, p Process) error {
	_, err := db.Conn(ctx).ExecContext(ctx, `
		INSERT INTO processes (id, role, version, phase, report, started_at, seen_at, stopped_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE
		SET report = excluded.report, seen_at = excluded.seen_at, stopped_at = excluded.stopped_at`,
		p.ID, p.Role, p.Version, p.Note, p.Report, p.StartedAt, p.SeenAt, p.StoppedAt)
	return err
}
