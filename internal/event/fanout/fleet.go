package fanout

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// AliveFor is how long after its last heartbeat a process that said no goodbye counts as living: four beats, and a little.
const AliveFor = 45 * time.Second

// Process is one process of this service, as its heartbeat describes it. Times are UTC, by the database's clock.
type Process struct {
	ID        string     `json:"id"` // minted at its start; a restart is another process
	Role      string     `json:"role"`
	Version   string     `json:"version"`
	Phase     Phase      `json:"phase"`
	StartedAt time.Time  `json:"started_at"`
	SeenAt    time.Time  `json:"seen_at"`
	StoppedAt *time.Time `json:"stopped_at,omitempty"` // set by an orderly stop
}

// Alive tells whether p is taken to be running at now. One that was killed is for AliveFor.
func (p Process) Alive(now time.Time) bool {
	return p.StoppedAt == nil && now.Sub(p.SeenAt) <= AliveFor
}

// ReadProcesses answers the processes that were seen at since or later, living or not, by role and start.
func ReadProcesses(ctx context.Context, db *database.DB, since time.Time) ([]Process, error) {
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		SELECT id, role, version, phase, started_at, seen_at, stopped_at FROM processes WHERE seen_at >= $1
		ORDER BY role, started_at, id`, since.UTC())
	if err != nil {
		return nil, fmt.Errorf("fanout: reading processes: %w", err)
	}
	defer rows.Close()
	found := []Process{}
	for rows.Next() {
		var p Process
		if err := rows.Scan(&p.ID, &p.Role, &p.Version, &p.Phase, &p.StartedAt, &p.SeenAt, &p.StoppedAt); err != nil {
			return nil, fmt.Errorf("fanout: reading a process: %w", err)
		}
		p.StartedAt, p.SeenAt = p.StartedAt.UTC(), p.SeenAt.UTC()
		if p.StoppedAt != nil {
			p.StoppedAt = new(p.StoppedAt.UTC())
		}
		found = append(found, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("fanout: reading processes: %w", err)
	}
	return found, nil
}

// PurgeProcesses deletes processes that were last seen before then and answers how many. One that lives comes back with
// its next beat.
func PurgeProcesses(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "DELETE FROM processes WHERE seen_at < $1", then.UTC())
	if err != nil {
		return 0, fmt.Errorf("fanout: purging processes: %w", err)
	}
	return result.RowsAffected()
}

// saveProcess stores p, or what changes of it.
func saveProcess(ctx context.Context, db *database.DB, p Process) error {
	_, err := db.Conn(ctx).ExecContext(ctx, `
		INSERT INTO processes (id, role, version, phase, started_at, seen_at, stopped_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, stopped_at = excluded.stopped_at`,
		p.ID, p.Role, p.Version, p.Phase, p.StartedAt, p.SeenAt, p.StoppedAt)
	return err
}
