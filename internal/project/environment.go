package project

import (
	"context"
	"time"
)

// Transactor runs fn in one transaction; see pkg/database. It may run fn a second time when the first transaction lost a
// race: fn assigns what it captures and adds to nothing outside.
type Transactor interface {
	WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error
}

// Clock returns the time all processes agree on: UTC, whole microseconds.
type Clock interface{ Now() time.Time }

// Observer is notified of outcomes that no caller sees. Its methods must be safe for concurrent use.
type Observer interface {
	// Completed is called at most once per project, after its job.completed was committed to the outbox.
	Completed(c Completion)
	// SignalFailed is called when storing job.completed failed. The sweeper tries again.
	SignalFailed(projectID string, err error)
	// SweepFailed is called each time the sweeper passes over a project that it cannot complete. again says that the
	// same project was passed over before, and not completed since.
	SweepFailed(projectID string, again bool, err error)
	// SweepHealth is called with the first error of an outage of the sweeper, and with nil on recovery.
	SweepHealth(err error)
}
