package operations

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
)

//go:generate go tool mockgen -source=deadletters.go -destination=mock/deadletters.go -package=mock

// Selection is which dead letters of a queue are meant. A letter must match every field that is set.
type Selection struct {
	IDs       []string // one of these event ids
	All       bool     // every letter; nothing else may be set then
	Reason    string
	Key       string        // the routing key
	OlderThan time.Duration // dead for longer than this; a letter whose time is unknown never is
	NewerThan time.Duration
	// At is when they were chosen: ages end there, and a letter that died later is not meant. Zero: now.
	At time.Time
}

// ErrNothingSelected is returned where letters have to be named and none were.
var ErrNothingSelected = errors.New("name the dead letters with --id or a filter, or say --all")

// Filtered reports whether a reason, a key or an age narrows the choice.
func (s Selection) Filtered() bool {
	return s.Reason != "" || s.Key != "" || s.OlderThan != 0 || s.NewerThan != 0
}

// Check returns an error for a selection that cannot be meant. explicit says that the letters have to be named: all of
// them are meant only when All says so.
func (s Selection) Check(explicit bool) error {
	switch {
	case slices.Contains(s.IDs, ""):
		return errors.New("--id is empty")
	case s.OlderThan < 0 || s.NewerThan < 0:
		return errors.New("an age cannot be negative")
	case s.All && (s.Filtered() || len(s.IDs) > 0):
		return errors.New("--all is every dead letter; leave out --id and the filters, or --all")
	case explicit && !s.All && !s.Filtered() && len(s.IDs) == 0:
		return ErrNothingSelected
	}
	return nil
}

// Matches reports whether l is one of them. now is when a selection without At was made.
func (s Selection) Matches(l event.DeadLetter, now time.Time) bool {
	died, _ := time.Parse(time.RFC3339, l.DeadSince) // zero with an error
	return s.matches(l.EventID, l.Reason, l.RoutingKey, died, now)
}

func (s Selection) matches(id, reason, key string, died, now time.Time) bool {
	if !s.At.IsZero() {
		now = s.At
		if died.After(now) {
			return false
		}
	}
	aged := s.OlderThan == 0 && s.NewerThan == 0 || !died.IsZero()
	return aged &&
		(len(s.IDs) == 0 || slices.Contains(s.IDs, id)) &&
		(s.Reason == "" || s.Reason == reason) &&
		(s.Key == "" || s.Key == key) &&
		(s.OlderThan == 0 || now.Sub(died) > s.OlderThan) &&
		(s.NewerThan == 0 || now.Sub(died) < s.NewerThan)
}

// Detail is a dead letter with everything that may be shown of it.
type Detail struct {
	event.DeadLetter
	ContentType string            `json:"content_type,omitempty"`
	Published   string            `json:"published_at,omitempty"` // as its producer says, RFC 3339
	Moves       int               `json:"moves"`
	BodyDigest  string            `json:"body_sha256"`
	Headers     map[string]string `json:"headers,omitempty"` // those of this service; of others only how long they are
}

// What becomes of a dead letter.
const (
	Replayed    = "replayed"
	AlreadySent = "already_sent" // its mail was accepted after all: it is removed, and not sent again
	Discarded   = "discarded"
)

// Outcome is what became of one dead letter.
type Outcome struct {
	event.DeadLetter
	Action string `json:"action"`
}

// Action is what a person has done with dead letters.
type Action string

// The actions.
const (
	Replay  Action = "replay"
	Discard Action = "discard"
)

// audited is what the record calls it.
func (a Action) audited() audit.Action {
	return map[Action]audit.Action{Replay: audit.DeadLettersReplayed, Discard: audit.DeadLettersDiscarded}[a]
}

// Work is what is to be done with dead letters.
type Work struct {
	Queue  string
	Action Action
	Selection
	PerSecond int // how many a second at most
	By        string
	Why       string // the reason for the record; Reason is why a letter died
}

// Reports are called as the work goes on. An error of one ends it.
type Reports struct {
	Seen    func()                              // of each letter that is looked at, before anything is done
	Handled func(Outcome) error                 // of each that is gone from the dead queue
	Failed  func(event.DeadLetter, error) error // of each that stays because this went wrong with it alone
}

// ErrBusy is returned while another process looks at a queue: a command, another consumer.
var ErrBusy = errors.New("another process is looking at this queue; try again in a moment")

// DeadLetters are those of every queue, at the broker. One look at a queue at a time: a second one is [ErrBusy].
type DeadLetters interface {
	// Depths returns how many each queue has that nobody looks at just now. A queue that is not known is missing.
	Depths(ctx context.Context) (map[string]int, error)
	// List calls each with every dead letter of a queue, oldest first.
	List(ctx context.Context, queue string, each func(event.DeadLetter) error) error
	// Show calls each with the details of every selected one, oldest first.
	Show(ctx context.Context, queue string, s Selection, each func(Detail) error) error
	// Handle replays or discards the selected ones, oldest first. What is neither handled nor failed when it ends is where
	// it was.
	Handle(ctx context.Context, w Work, r Reports) error
}

// Records holds who did what.
type Records interface {
	// Record writes what an operator does to the system.
	Record(ctx context.Context, operator string, action audit.Action, subject, reason string) error
}

// Clock returns the time all processes agree on.
type Clock interface{ Now() time.Time }
