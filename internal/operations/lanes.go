package operations

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/status"
)

// LanePause is the pause of a queue that sends mail, by a person. It lasts until a person ends it.
type LanePause struct {
	Queue  string
	By     string // as they call themselves
	Reason string // empty: not said
	Since  time.Time
}

// The errors of pausing and resuming; what wraps them says what can be done.
var (
	ErrNoLane    = errors.New("no such lane")
	ErrPaused    = errors.New("the lane is paused already")
	ErrNotPaused = errors.New("the lane is not paused by anybody")
	ErrText      = errors.New("the text cannot be kept")
)

//go:generate go tool mockgen -source=lanes.go -destination=mock/lanes.go -package=mock

// LanePauses stores the pauses of all processes.
type LanePauses interface {
	// Add stores p, and reports whether its queue had no pause. It needs a transaction.
	Add(ctx context.Context, p LanePause) (added bool, err error)
	// Remove deletes the pause of queue and returns it. It needs a transaction, and returns ErrNotPaused when there is none.
	Remove(ctx context.Context, queue string) (LanePause, error)
	// Of returns the pause of queue, or ErrNotPaused.
	Of(ctx context.Context, queue string) (LanePause, error)
	// All returns every pause, by queue.
	All(ctx context.Context) ([]LanePause, error)
}

// Lanes pauses and resumes lanes for all processes, in the name of the operator of ctx, and knows how they are.
type Lanes interface {
	Pause(ctx context.Context, queue, reason string) (LanePause, error)
	Resume(ctx context.Context, queue string) (LanePause, error)
	// List returns every lane as it is now.
	List(ctx context.Context) ([]status.Lane, error)
}

// Transactor runs fn in one transaction; see pkg/database. It may run fn a second time when the first transaction lost a
// race.
type Transactor interface {
	WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error
}
