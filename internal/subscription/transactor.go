package subscription

import (
	"context"
	"time"
)

// Transactor runs fn in one transaction; see pkg/database.
type Transactor interface {
	WithinTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Clock returns the time all processes agree on: UTC, whole microseconds.
type Clock interface{ Now() time.Time }
