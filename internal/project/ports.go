// Package project owns how far a project is: the hash smap:proj:{id} that all SMAP services share, counted so that every
// item counts once and the finish line is crossed once, and the job.completed that says so.
//
// It promises that an operation may be repeated after any error without counting twice, that a project which this service
// counted is announced once it is done, and that what neighbours keep in the same hash survives. It does not promise that
// progress is there: Redis may be away, and what it holds ends seven days after its last change.
package project

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// Transactor runs fn in one transaction; see pkg/database.
type Transactor interface {
	WithinTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Clock tells the time all processes agree on: UTC, whole microseconds.
type Clock interface{ Now() time.Time }

// Tracker counts. Each method is one server-side script and one round trip, and may be repeated after any error. Only
// Init creates: every other method answers StatusNotFound for a project that is not there, and stores nothing. Errors are
// ErrUnavailable with their cause.
type Tracker interface {
	// Init creates what is missing of a project, field by field, and overwrites nothing; its life of seven days begins
	// anew. A total above 0 is stored while there is none (missing, or 0). owner is stored while there is none.
	Init(ctx context.Context, projectID, owner string, total int64) (Change, error)
	// SetTotal stores the number of items. final false: more may be found (CRAWLING); true: that is all (PROCESSING). A
	// status that is not ours stays. Refused after DONE or FAILED, unless nothing would change.
	SetTotal(ctx context.Context, projectID string, total int64, final bool) (Change, error)
	// Mark counts 1 to MaxItems items. New: done+1, and errors+1 when it failed. Known failed, now ok: errors−1, also
	// after DONE. Known ok, now failed: nothing. Marking makes the project one that we count.
	Mark(ctx context.Context, projectID string, items []Item) (Change, error)
	// Fail gives the project up; the first reason stays. Refused after DONE.
	Fail(ctx context.Context, projectID, reason string) (Change, error)
	// Check re-runs the finish check and nothing else: no life begins anew.
	Check(ctx context.Context, projectID string) (Change, error)
	// Signalled says that job.completed is in the outbox.
	Signalled(ctx context.Context, projectID string) error
	// Forget removes everything we keep of the project, the neighbours' fields with it.
	Forget(ctx context.Context, projectID string) error
	// Open answers up to limit projects that we count and that are not signalled, those first that were touched longest
	// ago, and none touched less than idle ago.
	Open(ctx context.Context, idle time.Duration, limit int) ([]string, error)
}

// Reader reads. Errors are ErrUnavailable with their cause.
type Reader interface {
	// Progress is one HGETALL. A project that is not there has StatusNotFound.
	Progress(ctx context.Context, projectID string) (Progress, error)
	// Owner answers the user id, "" when it is not known.
	Owner(ctx context.Context, projectID string) (string, error)
}

// CompletionRepository remembers which projects have been announced, longer than the outbox does.
type CompletionRepository interface {
	// Add takes part in the transaction of ctx. It answers false when the project is there already.
	Add(ctx context.Context, projectID, eventID string, at time.Time) (bool, error)
}

// CompletionListener hears of a completion in the transaction that announces it, once per project.
type CompletionListener interface {
	ProjectCompleted(ctx context.Context, c Completion) error
}

// Announcer tells who watches live. It never blocks, promises nothing, and keeps what comes too fast back until the last.
type Announcer interface {
	Announce(owner string, p Progress)
}

// Watcher tells of a project's changes as they happen.
type Watcher interface {
	// Watch answers a channel that gets the progress soon after this call and after each change, at most five times a
	// second; one that is not taken off in time is replaced by the next. It is never closed. stop may be called twice; it
	// must be called once, or the project is watched for ever.
	Watch(projectID string) (changes <-chan Progress, stop func())
}

// Observer hears what is answered to nobody.
type Observer interface {
	// Completed: the project's job.completed is in the outbox. Once per project.
	Completed(c Completion)
	// SignalFailed: the project is done and its job.completed could not be handed over. The sweeper will repeat it.
	SignalFailed(projectID string, err error)
	// Sweeping: the sweeper cannot work, told once per outage; nil: it can again.
	Sweeping(err error)
}
