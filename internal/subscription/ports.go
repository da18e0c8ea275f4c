package subscription

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// Repository stores subscriptions. Every method joins the transaction of ctx.
type Repository interface {
	// Lock locks the user: another Lock or NextVersion of the same user waits until the transaction ends. It returns what
	// the billing service reported last.
	Lock(ctx context.Context, userID string) (Billed, error)
	// SetBilled stores what the billing service reported.
	SetBilled(ctx context.Context, userID string, b Billed) error
	// NextVersion raises the user's version and returns the new one. It locks the user as Lock does. A rollback reverts
	// the version.
	NextVersion(ctx context.Context, userID string) (int64, error)
	// Create returns [ErrActiveExists] if the user holds a subscription with a live status; the transaction stays
	// usable.
	Create(ctx context.Context, s Subscription) error
	// Update stores plan, status, times and version. It returns [ErrNotFound] if the subscription does not exist.
	Update(ctx context.Context, s Subscription) error
	// Delete hides the subscription. It returns [ErrNotFound] if the subscription does not exist.
	Delete(ctx context.Context, id string, now time.Time) error
	// ByID returns [ErrNotFound] if the subscription does not exist.
	ByID(ctx context.Context, id string) (Subscription, error)
	// LatestOf returns the user's subscriptions with the highest version: one, but any number that have version 0. See
	// [Latest].
	LatestOf(ctx context.Context, userID string) ([]Subscription, error)
	// List returns the page of those that f selects, the newest first, and the number of all of them.
	List(ctx context.Context, f Filter) ([]Subscription, int, error)
}

// LatestRepository lists the latest subscriptions of each user.
type LatestRepository interface {
	// LatestPerUser returns what LatestOf returns for up to limit users with ids above afterUserID ("" for the start),
	// ordered by user id.
	LatestPerUser(ctx context.Context, afterUserID string, limit int) ([]Subscription, error)
}

// PlanRepository stores plans. Every method joins the transaction of ctx.
type PlanRepository interface {
	// Ensure stores p unless a plan with its code exists, and returns the stored plan. Safe for concurrent use.
	Ensure(ctx context.Context, p Plan) (Plan, error)
	// ByID returns [ErrPlanNotFound] if the plan does not exist.
	ByID(ctx context.Context, id string) (Plan, error)
	// Held is ByID that finds deleted plans as well: subscriptions keep theirs.
	Held(ctx context.Context, id string) (Plan, error)
	// UseByID is ByID that keeps the plan from being changed or deleted until the transaction ends.
	UseByID(ctx context.Context, id string) (Plan, error)
	// UseByCode is UseByID for a code.
	UseByCode(ctx context.Context, code string) (Plan, error)
	// LockByID is ByID that waits for every transaction that uses the plan, and keeps others from using it.
	LockByID(ctx context.Context, id string) (Plan, error)
	// InUse reports whether a user holds the plan at now: by a live status, or by a cancelled subscription until its end.
	InUse(ctx context.Context, id string, now time.Time) (bool, error)
	// EverUsed reports whether any subscription was ever made for the plan.
	EverUsed(ctx context.Context, id string) (bool, error)
	// Create stores p, or restores the deleted plan with its code with the fields of p, and returns it. It returns
	// [ErrPlanExists] if another plan, even a deleted one, has its name, or one that exists its code.
	Create(ctx context.Context, p Plan) (Plan, error)
	// Update stores name, code, description, usage and the time of the change. Its errors are those of Create.
	Update(ctx context.Context, p Plan) error
	// Delete hides the plan.
	Delete(ctx context.Context, id string, now time.Time) error
	// List returns the page of those that f selects, the newest first, and the number of all of them.
	List(ctx context.Context, f PlanFilter) ([]Plan, int, error)
}

// Users knows who has an account.
type Users interface {
	// Exists reports whether the user exists and was not deleted.
	Exists(ctx context.Context, userID string) (bool, error)
}

// TrialRepository remembers who has had a trial. Its methods join the transaction of ctx.
type TrialRepository interface {
	// Record stores the digest of an address and reports true, unless it is stored already. While another transaction
	// records the same digest, Record waits for its end.
	Record(ctx context.Context, digest []byte) (first bool, err error)
	// HadSubscription reports whether a user with the address has ever had a subscription. Deleted users and deleted
	// subscriptions count.
	HadSubscription(ctx context.Context, email string) (bool, error)
}

// StateStore stores states for other services.
type StateStore interface {
	// Apply stores s atomically and reports true, unless a higher version is stored. The same version is stored
	// again, so that a repeat is harmless. After an error the outcome is unknown: apply s again.
	Apply(ctx context.Context, s State) (applied bool, err error)
}
