// Package sqldb remembers in PostgreSQL or SQLite, by one SQL text, which projects have been announced as done.
package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/database"
)

// Completions is a project.CompletionRepository.
type Completions struct{ db *database.DB }

// NewCompletions works on db, which must have the schema.
func NewCompletions(db *database.DB) *Completions { return &Completions{db} }

var _ project.CompletionRepository = (*Completions)(nil)

// Add implements project.CompletionRepository; outside a transaction it answers database.ErrNoTx. Of two at once the
// second waits until the first one's transaction has ended.
func (c *Completions) Add(ctx context.Context, projectID, eventID string, at time.Time) (bool, error) {
	tx, err := c.db.Tx(ctx)
	if err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO project_completions (project_id, event_id, completed_at)
		VALUES ($1, $2, $3) ON CONFLICT (project_id) DO NOTHING`, projectID, eventID, at)
	if err != nil {
		return false, fmt.Errorf("project: remembering a completion: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("project: remembering a completion: %w", err)
	}
	return n == 1, nil
}

// PurgeOlderThan forgets completions from before then and answers how many. then must lie further back than Redis keeps
// a project that nobody touches (seven days): one that can still be found done would be announced a second time.
func (c *Completions) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	result, err := c.db.Conn(ctx).ExecContext(ctx, "DELETE FROM project_completions WHERE completed_at < $1", then)
	if err != nil {
		return 0, fmt.Errorf("project: forgetting completions: %w", err)
	}
	return result.RowsAffected()
}
