package project

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// ProgressStore changes the progress of projects. Each method is atomic and one round trip, and may be repeated after
// any error. Only Init creates a project: the other methods return [StatusNotFound] for a project that does not exist,
// and store nothing. Errors are [ErrUnavailable] with their cause.
type ProgressStore interface {
	// Init creates the missing fields of a project, overwrites none, and renews its lifetime of seven days. It stores
	// total only while the stored total is 0 or missing, and owner only while there is none.
	Init(ctx context.Context, projectID, owner string, total int64) (Change, error)
	// SetTotal stores the number of items. With final unset more items may be found (CRAWLING); with final set the
	// total is complete (PROCESSING). A status of another service stays. After DONE or FAILED a different total is
	// refused.
	SetTotal(ctx context.Context, projectID string, total int64, final bool) (Change, error)
	// Mark counts 1 to [MaxItems] items and makes the project one that this service counts. A new item raises done,
	// and errors if it failed. A failed item that is now ok lowers errors, even after DONE. An ok item never becomes
	// failed.
	Mark(ctx context.Context, projectID string, items []Item) (Change, error)
	// Fail sets FAILED and keeps the first reason. After DONE it is refused.
	Fail(ctx context.Context, projectID, reason string) (Change, error)
	// Forget deletes the project's progress, including the fields of other services.
	Forget(ctx context.Context, projectID string) error
}

// OpenProjects lists the projects that this service counts and whose job.completed is not in the outbox yet. Each
// method may be repeated after any error. Errors are [ErrUnavailable] with their cause.
type OpenProjects interface {
	// ListOpen returns up to limit open projects that were not touched for at least idle, least recently touched first.
	ListOpen(ctx context.Context, idle time.Duration, limit int) ([]string, error)
	// Check applies the finish-line rule to a project and touches it. It renews no lifetime.
	Check(ctx context.Context, projectID string) (Change, error)
	// Postpone makes a project that cannot be checked the most recently touched one, whatever is wrong with it.
	Postpone(ctx context.Context, projectID string) error
	// MarkSignalled records that job.completed is in the outbox: the project is no longer open.
	MarkSignalled(ctx context.Context, projectID string) error
}

// ProgressReader reads the progress of projects. Errors are [ErrUnavailable] with their cause.
type ProgressReader interface {
	// Progress returns [StatusNotFound] for a project that does not exist. owner is the user id of the project's owner, as
	// it was received, or "" while it is unknown.
	Progress(ctx context.Context, projectID string) (p Progress, owner string, err error)
}

// CompletionRepository remembers which projects were announced as completed.
type CompletionRepository interface {
	// Add joins the transaction of ctx. It reports whether the project was new.
	Add(ctx context.Context, projectID, eventID string, at time.Time) (bool, error)
}

// CompletionListener is called in the transaction that stores a project's job.completed, which commits once per
// project.
type CompletionListener interface {
	ProjectCompleted(ctx context.Context, c Completion) error
}

// ProgressPublisher publishes changes for live watchers.
type ProgressPublisher interface {
	// Publish never blocks. Delivery is best effort; of several changes in quick succession only the latest is
	// published.
	Publish(owner string, p Progress)
}

// ProgressWatcher subscribes to the changes of a project.
type ProgressWatcher interface {
	// Watch returns a channel that receives the progress now and after each change, at most five times a second. A slow
	// receiver gets the latest progress only. The channel is never closed. The caller must call stop at least once.
	Watch(projectID string) (changes <-chan Progress, stop func())
}
