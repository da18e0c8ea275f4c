package sqldb

import (
	"context"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// Trials implements [subscription.TrialRepository] on the table trial_digests. Record returns [database.ErrNoTx] outside
// a transaction.
type Trials struct{ db *database.DB }

// NewTrials returns a repository on db, which must have the schema.
func NewTrials(db *database.DB) *Trials { return &Trials{db} }

var _ subscription.TrialRepository = (*Trials)(nil)

// Record implements [subscription.TrialRepository].
func (r *Trials) Record(ctx context.Context, digest []byte) (first bool, err error) {
	n, err := r.db.ExecTx(ctx, "subscription: recording a trial",
		"INSERT INTO trial_digests (digest) VALUES ($1) ON CONFLICT DO NOTHING", digest)
	return n > 0, err
}

// HadSubscription implements [subscription.TrialRepository]. It reads living and deleted users apart, because each have
// an index of their own.
func (r *Trials) HadSubscription(ctx context.Context, email string) (had bool, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM subscriptions WHERE user_id IN (
		SELECT id FROM users WHERE lower(username) = lower($1) AND deleted_at IS NULL
		UNION ALL
		SELECT id FROM users WHERE lower(username) = lower($1) AND deleted_at IS NOT NULL))`, email).Scan(&had)
	return had, database.Wrap("subscription: looking for an earlier subscription", err)
}
