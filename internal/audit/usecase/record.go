// Package usecase writes entries of the record, and shows them.
package usecase

import (
	"cmp"
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
)

// maxText is how many characters of a detail are kept.
const maxText = 500

// Recorder is an [audit.Recorder]. It is safe for concurrent use.
type Recorder struct {
	entries audit.Repository
	clock   audit.Clock
}

// NewRecorder returns a [Recorder].
func NewRecorder(entries audit.Repository, clock audit.Clock) *Recorder {
	return &Recorder{entries, clock}
}

// Record implements [audit.Recorder].
func (r *Recorder) Record(ctx context.Context, e audit.Entry) error {
	origin := audit.OriginOf(ctx)
	if e.ID == "" {
		e.ID = uuid.Must(uuid.NewV7()).String()
	}
	e.At = r.clock.Now()
	e.Outcome = cmp.Or(e.Outcome, audit.Done)
	e.ActorID = cmp.Or(e.ActorID, origin.ActorID)
	e.Operator = storable(cmp.Or(e.Operator, origin.Operator))
	e.RequestID = storable(cmp.Or(e.RequestID, origin.RequestID))
	e.Address = storable(e.Address)
	e.IP = storable(cmp.Or(e.IP, origin.IP))
	e.Agent = storable(cmp.Or(e.Agent, origin.Agent))
	e.Reason = storable(e.Reason)
	return r.entries.Append(ctx, e)
}

// storable returns what can be stored and printed of text that anybody may have sent: valid, on one line, of at most 500
// characters.
func storable(text string) string {
	text = strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case c == utf8.RuneError, !unicode.IsGraphic(c):
			return -1
		}
		return c
	}, text))
	if characters := []rune(text); len(characters) > maxText {
		return string(characters[:maxText])
	}
	return text
}
