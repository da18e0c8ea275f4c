// Package sqldb owns the tables plans, subscriptions and subscription_versions in PostgreSQL and SQLite. It ignores
// rows with a deleted_at, and finds nothing for an id that is no UUID.
//
// Conflicts are handled by ON CONFLICT DO NOTHING, so that a PostgreSQL transaction stays usable after them. The
// package does not decide which subscription entitles: see [subscription.Latest].
package sqldb

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// live lists the statuses of the index subscriptions_one_live.
const live = "('active', 'trialing', 'past_due')"

const columns = `s.id, s.user_id, s.plan_id, p.code, s.status, s.trial_ends_at, s.starts_at, s.ends_at, s.cancelled_at,
	s.past_due_since, s.version, s.created_at, s.updated_at`

// selectOne joins deleted plans too: their subscriptions stay.
const selectOne = "SELECT " + columns + ` FROM subscriptions s JOIN plans p ON p.id = s.plan_id
	WHERE s.deleted_at IS NULL AND `

// Subscriptions implements [subscription.Repository] and [subscription.LatestRepository]. Its writes return
// [database.ErrNoTx] outside a transaction.
type Subscriptions struct{ db *database.DB }

// NewSubscriptions returns a repository on db, which must have the schema.
func NewSubscriptions(db *database.DB) *Subscriptions { return &Subscriptions{db} }

var (
	_ subscription.Repository       = (*Subscriptions)(nil)
	_ subscription.LatestRepository = (*Subscriptions)(nil)
)

// Lock implements [subscription.Repository]. Writing the row of subscription_versions locks the user on both engines.
func (r *Subscriptions) Lock(ctx context.Context, userID string) (b subscription.Billed, err error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return b, err
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO subscription_versions (user_id, version) VALUES ($1, 0)
		ON CONFLICT (user_id) DO UPDATE SET version = subscription_versions.version
		RETURNING billed_at, COALESCE(billed_state, '')`, database.UUID(userID)).Scan(database.UTC(&b.At), &b.State)
	if b.State == "" {
		b.At = time.Time{}
	}
	return b, database.Wrap("subscription: locking the user", err)
}

// SetBilled implements [subscription.Repository].
func (r *Subscriptions) SetBilled(ctx context.Context, userID string, b subscription.Billed) error {
	_, err := r.db.ExecTx(ctx, "subscription: storing what billing reported",
		"UPDATE subscription_versions SET billed_at = $2, billed_state = $3 WHERE user_id = $1",
		database.UUID(userID), database.Truncate(b.At), b.State)
	return err
}

// NextVersion implements [subscription.Repository].
func (r *Subscriptions) NextVersion(ctx context.Context, userID string) (int64, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return 0, err
	}
	var version int64
	err = tx.QueryRowContext(ctx, `INSERT INTO subscription_versions (user_id, version) VALUES ($1, 1)
		ON CONFLICT (user_id) DO UPDATE SET version = subscription_versions.version + 1
		RETURNING version`, userID).Scan(&version)
	return version, database.Wrap("subscription: raising the user's version", err)
}

// Create implements [subscription.Repository].
func (r *Subscriptions) Create(ctx context.Context, s subscription.Subscription) error {
	n, err := r.db.ExecTx(ctx, "subscription: storing a subscription", `INSERT INTO subscriptions
		(id, user_id, plan_id, status, trial_ends_at, starts_at, ends_at, cancelled_at, past_due_since, version, created_at,
		updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		s.ID, s.UserID, s.PlanID, string(s.Status), s.TrialEndsAt, s.StartsAt, s.EndsAt, s.CancelledAt, s.PastDueSince, s.Version,
		s.CreatedAt, s.UpdatedAt)
	if err == nil && n == 0 {
		return subscription.ErrActiveExists
	}
	return err
}

// Update implements [subscription.Repository].
func (r *Subscriptions) Update(ctx context.Context, s subscription.Subscription) error {
	n, err := r.db.ExecTx(ctx, "subscription: changing a subscription", `UPDATE subscriptions SET status = $2,
		trial_ends_at = $3, starts_at = $4, ends_at = $5, cancelled_at = $6, past_due_since = $7, version = $8,
		updated_at = $9, plan_id = $10
		WHERE id = $1 AND deleted_at IS NULL`, database.UUID(s.ID), string(s.Status), s.TrialEndsAt, s.StartsAt,
		s.EndsAt, s.CancelledAt, s.PastDueSince, s.Version, s.UpdatedAt, s.PlanID)
	if err == nil && n == 0 {
		return subscription.ErrNotFound
	}
	return err
}

// ByID implements [subscription.Repository].
func (r *Subscriptions) ByID(ctx context.Context, id string) (subscription.Subscription, error) {
	s, err := scan(r.db.Conn(ctx).QueryRowContext(ctx, selectOne+"s.id = $1", database.UUID(id)))
	return s, database.WrapRow("subscription: reading one", err, subscription.ErrNotFound)
}

// Delete implements [subscription.Repository].
func (r *Subscriptions) Delete(ctx context.Context, id string, now time.Time) error {
	n, err := r.db.ExecTx(ctx, "subscription: deleting a subscription",
		"UPDATE subscriptions SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL", database.UUID(id), database.Truncate(now))
	if err == nil && n == 0 {
		return subscription.ErrNotFound
	}
	return err
}

// List implements [subscription.Repository].
func (r *Subscriptions) List(
	ctx context.Context, f subscription.Filter,
) (found []subscription.Subscription, total int, err error) {
	statuses := make([]string, len(f.Statuses))
	for i, status := range f.Statuses {
		statuses[i] = string(status)
	}
	s := selection{}
	s.in("s.id", uuids(f.IDs))
	s.in("s.user_id", uuids(f.UserIDs))
	s.in("s.plan_id", uuids(f.PlanIDs))
	s.in("s.status", statuses)
	return list(ctx, r.db, "subscription: listing", scan, columns,
		"FROM subscriptions s JOIN plans p ON p.id = s.plan_id WHERE s.deleted_at IS NULL"+s.conditions,
		"s.created_at DESC NULLS LAST, s.id DESC", s.args, f.Limit, f.Offset)
}

// counted selects the rows of which the latest counts. A deleted one counts once it has expired: it was the latest, and
// the state that other services have says so.
const counted = "(deleted_at IS NULL OR status = 'expired')"

// LatestOf implements [subscription.Repository].
func (r *Subscriptions) LatestOf(ctx context.Context, userID string) ([]subscription.Subscription, error) {
	return r.latest(ctx, "user_id = $1", database.UUID(userID))
}

// LatestPerUser implements [subscription.LatestRepository]. It selects the users of the page first and ranks only
// their rows, so that every page costs the same. Users who were erased have no state.
func (r *Subscriptions) LatestPerUser(
	ctx context.Context, afterUserID string, limit int,
) ([]subscription.Subscription, error) {
	// The UUID of "" is below every id in use.
	return r.latest(ctx, `user_id IN (SELECT DISTINCT user_id FROM subscriptions
		WHERE `+counted+` AND user_id > $1 AND NOT EXISTS (SELECT 1 FROM users WHERE id = user_id AND erased_at IS NOT NULL)
		ORDER BY user_id LIMIT $2)`, database.UUID(afterUserID), limit)
}

func (r *Subscriptions) latest(ctx context.Context, users string, args ...any) ([]subscription.Subscription, error) {
	return database.All(ctx, r.db, "subscription: reading the latest of a user", scan, `SELECT `+columns+` FROM (
			SELECT *, rank() OVER (PARTITION BY user_id ORDER BY version DESC) AS place
			FROM subscriptions WHERE `+counted+` AND `+users+`
		) s JOIN plans p ON p.id = s.plan_id WHERE s.place = 1 ORDER BY s.user_id, s.id`, args...)
}

// scan reads rows of the previous release as well, which may lack the times of their creation and their last change.
func scan(row database.Row) (s subscription.Subscription, err error) {
	err = row.Scan(&s.ID, &s.UserID, &s.PlanID, &s.PlanCode, &s.Status, &s.TrialEndsAt, database.UTC(&s.StartsAt), &s.EndsAt,
		&s.CancelledAt, &s.PastDueSince, &s.Version, database.UTC(&s.CreatedAt), database.UTC(&s.UpdatedAt))
	database.FillTimes(&s.StartsAt, &s.CreatedAt, &s.UpdatedAt)
	for _, t := range []*time.Time{s.TrialEndsAt, s.EndsAt, s.CancelledAt, s.PastDueSince} {
		if t != nil {
			*t = t.UTC()
		}
	}
	return s, err
}
