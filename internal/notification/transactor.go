package notification

import (
	"context"
	"time"
)

// Transactor runs fn in one transaction; see pkg/database.
type Transactor interface {
	WithinTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Clock returns the time that all processes agree on: UTC, whole microseconds.
type Clock interface{ Now() time.Time }
