// Package subscription owns plans, trials and their lifecycle, and the projection of it that other services read
// in Redis. Every change raises the user's version and puts an event into the outbox in the same transaction.
//
// The projection is a copy: it lags behind the database by the time an event takes, and can be rebuilt from it.
package subscription

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

// Repository stores subscriptions. Every method takes part in the transaction of ctx.
type Repository interface {
	// NextVersion raises the user's version and answers the new one. It is the user's lock: another NextVersion of
	// the same user waits until the transaction ends. A rollback takes the number back.
	NextVersion(ctx context.Context, userID string) (int64, error)
	// Create answers ErrActiveExists when the user holds a row with a live status; the transaction stays usable.
	Create(ctx context.Context, s Subscription) error
	// Update stores status, times and version. It answers ErrNotFound when there is no such row.
	Update(ctx context.Context, s Subscription) error
	// ByID answers ErrNotFound when there is none.
	ByID(ctx context.Context, id string) (Subscription, error)
	// LiveByUser answers the user's row with a live status, ErrNotFound when there is none. Whether a trial has run
	// out is for Subscription.Live to say.
	LiveByUser(ctx context.Context, userID string) (Subscription, error)
	// LatestPerUser answers the most recently changed subscription of up to limit users whose id is greater than
	// afterUserID ("" = from the start), ordered by user id. Most recent is the highest version; where all are rows
	// of the previous release, which have none, the live one, else the one updated last.
	LatestPerUser(ctx context.Context, afterUserID string, limit int) ([]Subscription, error)
}

// PlanRepository stores plans.
type PlanRepository interface {
	// Ensure stores p unless a plan with its code exists, and answers the stored one. Safe under concurrency.
	Ensure(ctx context.Context, p Plan) (Plan, error)
}

// StateStore keeps State where other services read it.
type StateStore interface {
	// Apply stores s unless a higher version is already there, in one step; applied is false when it is. The same
	// version is stored again, so that a repeat is harmless. An error means that it is not known whether
	// s was stored: apply it again.
	Apply(ctx context.Context, s State) (applied bool, err error)
}
