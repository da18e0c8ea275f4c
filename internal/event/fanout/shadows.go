package fanout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// maxMismatchedEvents is how many event ids ReadShadows names.
const maxMismatchedEvents = 10

// Shadows is what the comparison of stamped topic copies with their fanout copies has found, each event counted once.
type Shadows struct {
	Since      time.Time `json:"since"`
	Matched    int       `json:"matched"`
	Mismatched int       `json:"mismatched"`
	// Fields is how many mismatches each field is part of: subject, recipient, body, or, where there was no mail to
	// compare, unreadable, invalid, unrenderable.
	Fields           map[string]int `json:"fields"`
	LastMismatch     *time.Time     `json:"last_mismatch,omitempty"`
	MismatchedEvents []string       `json:"mismatched_events"` // ids, the newest first, at most 10
}

// saveShadow stores the result for eventID unless there is one, and tells whether it did. No differing fields: a match.
func saveShadow(ctx context.Context, db *database.DB, eventID string, differing []string, now time.Time) (bool, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, `
		INSERT INTO mail_shadows (event_id, differing, compared_at) VALUES ($1, $2, $3)
		ON CONFLICT (event_id) DO NOTHING`, eventID, strings.Join(differing, ","), now)
	if err != nil {
		return false, fmt.Errorf("fanout: recording a comparison: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("fanout: recording a comparison: %w", err)
	}
	return n == 1, nil
}

// ReadShadows reads the results of since and later.
func ReadShadows(ctx context.Context, db *database.DB, since time.Time) (Shadows, error) {
	s := Shadows{Since: since.UTC(), Fields: map[string]int{}, MismatchedEvents: []string{}}
	if err := s.count(ctx, db); err != nil {
		return Shadows{}, fmt.Errorf("fanout: counting comparisons: %w", err)
	}
	if err := s.name(ctx, db); err != nil {
		return Shadows{}, fmt.Errorf("fanout: reading mismatches: %w", err)
	}
	return s, nil
}

func (s *Shadows) count(ctx context.Context, db *database.DB) error {
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		SELECT differing, count(*) FROM mail_shadows WHERE compared_at >= $1 GROUP BY differing`, s.Since)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var differing string
		var n int
		if err := rows.Scan(&differing, &n); err != nil {
			return err
		}
		if differing == "" {
			s.Matched = n
			continue
		}
		s.Mismatched += n
		for field := range strings.SplitSeq(differing, ",") {
			s.Fields[field] += n
		}
	}
	return rows.Err()
}

func (s *Shadows) name(ctx context.Context, db *database.DB) error {
	rows, err := db.Conn(ctx).QueryContext(ctx, `
		SELECT event_id, compared_at FROM mail_shadows WHERE compared_at >= $1 AND differing <> ''
		ORDER BY compared_at DESC, event_id DESC LIMIT $2`, s.Since, maxMismatchedEvents)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var at time.Time
		if err := rows.Scan(&id, &at); err != nil {
			return err
		}
		if s.LastMismatch == nil {
			s.LastMismatch = new(at.UTC())
		}
		s.MismatchedEvents = append(s.MismatchedEvents, id)
	}
	return rows.Err()
}

// PurgeShadows deletes results older than then and answers how many.
func PurgeShadows(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "DELETE FROM mail_shadows WHERE compared_at < $1", then.UTC())
	if err != nil {
		return 0, fmt.Errorf("fanout: purging comparisons: %w", err)
	}
	return result.RowsAffected()
}
