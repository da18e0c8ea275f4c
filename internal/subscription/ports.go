package subscription

import "context"

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// Repository stores subscriptions. Every method joins the transaction of ctx.
type Repository interface {
	// NextVersion raises the user's version and returns the new one. It locks the user: another NextVersion of the same
	// user waits until the transaction ends. A rollback reverts the version.
	NextVersion(ctx context.Context, userID string) (int64, error)
	// Create returns [ErrActiveExists] if the user holds a subscription with a live status; the transaction stays
	// usable.
	Create(ctx context.Context, s Subscription) error
	// Update stores status, times and version. It returns [ErrNotFound] if the subscription does not exist.
	Update(ctx context.Context, s Subscription) error
	// ByID returns [ErrNotFound] if the subscription does not exist.
	ByID(ctx context.Context, id string) (Subscription, error)
	// LiveByUser returns the user's subscription with a live status, or [ErrNotFound]. Its trial may have ended: see
	// [Subscription.Live].
	LiveByUser(ctx context.Context, userID string) (Subscription, error)
}

// LatestRepository lists the latest subscription of each user.
type LatestRepository interface {
	// LatestPerUser returns the latest subscription of up to limit users with ids above afterUserID ("" for the start),
	// ordered by user id. The latest has the highest version. Rows of the previous release have no version: of those it
	// is the live one, or else the one updated last.
	LatestPerUser(ctx context.Context, afterUserID string, limit int) ([]Subscription, error)
}

// PlanRepository stores plans.
type PlanRepository interface {
	// Ensure stores p unless a plan with its code exists, and returns the stored plan. Safe for concurrent use.
	Ensure(ctx context.Context, p Plan) (Plan, error)
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
