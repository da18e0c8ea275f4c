package legacy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// ShadowDeps are what a Shadow needs; all are required.
type ShadowDeps struct {
	DB       *database.DB
	Clock    Clock
	Render   Render // the one that the topic path sends by: it is what the comparison is about
	Digests  Digests
	Compared func(match bool) // called once per event, by the process that has recorded it
}

// Shadow compares stamped topic copies with the legacy copies that are sent in their stead. It sends nothing and does
// not touch the mail ledger.
type Shadow struct{ deps ShadowDeps }

// NewShadow returns a Shadow.
func NewShadow(d ShadowDeps) *Shadow { return &Shadow{d} }

// Compare returns a handler that compares a copy stamped OwnerLegacy, whatever phase this process is in, and hands every
// other one to next. Whether the code is still of use does not matter: the mail is written as of its event's time.
//
// A copy that differs is recorded and acked: the mail has been sent. One that cannot be turned into a mail is recorded
// too, and dead-lettered: in a later phase the mail would be lost.
func (s *Shadow) Compare(next event.Handler) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		if m.Headers[HeaderOwner] != OwnerLegacy {
			return next(ctx, m)
		}
		return s.compare(ctx, m.Message)
	}
}

// Sent returns middleware for the copies that this service sends. Those that a [Shadow] compares pass by mw: the mail
// ledger's entry of their event belongs to the other copy.
func Sent(mw event.Middleware) event.Middleware {
	return func(next event.Handler) event.Handler {
		sent := mw(next)
		return func(ctx context.Context, m event.Delivery) error {
			if m.Headers[HeaderOwner] == OwnerLegacy {
				return next(ctx, m)
			}
			return sent(ctx, m)
		}
	}
}

func (s *Shadow) compare(ctx context.Context, m event.Message) error {
	l, unusable := write(ctx, s.deps.Render, m)
	if unusable != nil {
		if _, err := s.record(ctx, m.ID, []string{s.deadClass(unusable, m)}); err != nil {
			return err
		}
		return unusable
	}
	fresh, err := s.record(ctx, l.eventID, s.deps.Digests.differing(m.Headers, l.eventID, l.mail))
	if err == nil && !fresh {
		return event.Drop(event.DropDuplicate)
	}
	return err
}

// record stores a result and reports whether it is the first of its event.
func (s *Shadow) record(ctx context.Context, eventID string, differing []string) (fresh bool, err error) {
	fresh, err = saveShadow(ctx, s.deps.DB, eventID, differing, s.deps.Clock.Now())
	if fresh {
		s.deps.Compared(len(differing) == 0)
	}
	return fresh, err
}

// deadClass is the class the dead queue will show.
func (s *Shadow) deadClass(err error, m event.Message) string {
	d := event.Decide(err, event.Delivery{Message: m}, event.Policy{}, false, s.deps.Clock.Now())
	return d.Headers[event.HeaderError]
}

// maxMismatchedEvents is how many event ids ReadShadows names.
const maxMismatchedEvents = 10

// Shadows is what the comparison has found, each event counted once.
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

// saveShadow stores the result for eventID unless there is one, and reports whether it did. No differing fields: a match.
func saveShadow(ctx context.Context, db *database.DB, eventID string, differing []string, now time.Time) (bool, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, `
		INSERT INTO mail_shadows (event_id, differing, compared_at) VALUES ($1, $2, $3)
		ON CONFLICT (event_id) DO NOTHING`, eventID, strings.Join(differing, ","), now)
	if err != nil {
		return false, fmt.Errorf("legacy: recording a comparison: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("legacy: recording a comparison: %w", err)
	}
	return n == 1, nil
}

// ReadShadows reads the results of since and later.
func ReadShadows(ctx context.Context, db *database.DB, since time.Time) (Shadows, error) {
	s := Shadows{Since: since.UTC(), Fields: map[string]int{}, MismatchedEvents: []string{}}
	if err := s.count(ctx, db); err != nil {
		return Shadows{}, fmt.Errorf("legacy: counting comparisons: %w", err)
	}
	if err := s.name(ctx, db); err != nil {
		return Shadows{}, fmt.Errorf("legacy: reading mismatches: %w", err)
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

// PurgeShadows deletes results older than then and returns how many.
func PurgeShadows(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	return db.Purge(ctx, "legacy: purging comparisons",
		database.Purge{Table: "mail_shadows", Key: "event_id", Oldest: "compared_at", Where: "compared_at < $1"}, then.UTC())
}
