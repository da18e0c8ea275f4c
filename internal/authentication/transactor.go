package authentication

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
