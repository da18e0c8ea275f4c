// Package sqldb owns the table project_completions in PostgreSQL and SQLite: which projects were announced as
// completed. It does not promise to remember them for ever: see [Completions.PurgeOlderThan].
package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/database"
)

// Completions implements [project.CompletionRepository].
type Completions struct{ db *database.DB }

// NewCompletions returns a repository on db, which must have the schema.
func NewCompletions(db *database.DB) *Completions { return &Completions{db} }

var _ project.CompletionRepository = (*Completions)(nil)

// Add implements [project.CompletionRepository]. It returns [database.ErrNoTx] outside a transaction. Of two concurrent
// calls for one project the second waits for the transaction of the first.
func (c *Completions) Add(ctx context.Context, projectID, eventID string, at time.Time) (bool, error) {
	n, err := c.db.ExecTx(ctx, "project: storing a completion", `INSERT INTO project_completions
		(project_id, event_id, completed_at) VALUES ($1, $2, $3) ON CONFLICT (project_id) DO NOTHING`,
		projectID, eventID, at)
	return n == 1, err
}

// PurgeOlderThan deletes the completions before then and returns their number. A project that Redis may still hold
// (seven days after its last change) must be kept: it would be announced a second time.
func (c *Completions) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return c.db.Purge(ctx, "project: purging completions",
		database.Purge{Table: "project_completions", Key: "project_id", Oldest: "completed_at", Where: "completed_at < $1"}, then)
}
