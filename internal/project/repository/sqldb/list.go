package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Completed is a project that was announced as completed.
type Completed struct {
	ProjectID string
	EventID   string
	At        time.Time
}

const (
	reading = "project: reading completions"
	columns = "project_id, event_id, completed_at"
)

// List returns up to limit projects, those first that were announced last, behind after; zero is before the first.
func (c *Completions) List(ctx context.Context, after Completed, limit int) ([]Completed, error) {
	where, args := "TRUE", []any{limit}
	if after.ProjectID != "" {
		where, args = "(completed_at, project_id) < ($2, $3)", append(args, database.Truncate(after.At), after.ProjectID)
	}
	return database.All(ctx, c.db, reading, scanCompleted, "SELECT "+columns+" FROM project_completions WHERE "+where+
		" ORDER BY completed_at DESC, project_id DESC LIMIT $1", args...)
}

// Of returns when a project was announced; zero when it was not, or more than 30 days ago.
func (c *Completions) Of(ctx context.Context, projectID string) (Completed, error) {
	found, err := scanCompleted(c.db.Conn(ctx).QueryRowContext(ctx,
		"SELECT "+columns+" FROM project_completions WHERE project_id = $1", projectID))
	return found, database.WrapRow(reading, err, nil)
}

func scanCompleted(row database.Row) (c Completed, err error) {
	err = row.Scan(&c.ProjectID, &c.EventID, database.UTC(&c.At))
	return c, err
}
