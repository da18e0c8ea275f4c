package operations

import (
	"context"
	"errors"
	"time"
)

// Progress is how far a project is. Found is false where Redis has nothing of it.
type Progress struct {
	Found   bool
	Status  string // docs/compatibility.md
	Total   int64  // 0: not known
	Done    int64
	Errors  int64
	Percent float64
}

// Project is a project as it is in Redis, and what the database has of it.
type Project struct {
	ID string
	Progress
	Fields      []Field       // of the hash that all services share, by name
	Life        time.Duration // how long the hash lives yet; 0: it has no end
	Owner       string        // a user id, as it was received
	Touched     time.Time     // zero: it is not one of the open ones
	CompletedAt time.Time     // zero: not announced
	EventID     string        // of what announced it
	Batch       *Batch        // nil: it is no batch of invitations
}

// Field is one of a hash. Long values are cut.
type Field struct{ Name, Value string }

// Batch is one upload of invitations.
type Batch struct {
	ID          string // the project's
	AdminID     string
	Total       int64
	CreatedAt   time.Time
	LastDueAt   time.Time // when its last mail may leave
	CancelledAt time.Time // zero: not cancelled
	CompletedAt time.Time // zero: not completed
	Progress    *Progress // nil: unknown
}

// State returns what became of b so far.
func (b Batch) State() string {
	switch {
	case !b.CompletedAt.IsZero() && !b.CancelledAt.IsZero():
		return "cancelled, completed"
	case !b.CompletedAt.IsZero():
		return "completed"
	case !b.CancelledAt.IsZero():
		return "cancelled"
	}
	return "open"
}

// BatchStates are those that batches can be selected by.
var BatchStates = []string{"open", "completed", "cancelled"}

// ProjectStates are those that projects can be selected by. "completed" are those that were announced, in the last 30 days;
// all others are open ones, which this service counts and has not announced.
var ProjectStates = []string{"open", "INITIALIZING", "CRAWLING", "PROCESSING", "PROCESSING_WAIT", "DONE", "FAILED", "completed"}

// Part is one page of a list. More is where the next one begins, empty at the end.
type Part[T any] struct {
	Rows []T
	More string
}

// ErrNoProject is the error of a project of which nothing is known.
var ErrNoProject = errors.New("nothing is known of this project: it is not in Redis, was not announced in the last 30 days, and is no batch")

// ErrPlace is the error of a place in a list that no page has given.
var ErrPlace = errors.New("the list has no such place; begin with its first page")

// Projects knows projects and batches. A page begins behind after, which is empty or More of the page before.
type Projects interface {
	// Batches returns batches in that state, or all, the newest first.
	Batches(ctx context.Context, state, after string, limit int) (Part[Batch], error)
	// Projects returns projects in that state, those first that were touched or announced last.
	Projects(ctx context.Context, state, after string, limit int) (Part[Project], error)
	// Project returns everything about a project, or ErrNoProject.
	Project(ctx context.Context, id string) (Project, error)
}
