package sqldb

import (
	"context"
	"strconv"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// LockToRemind implements [subscription.ReminderRepository]. A trial that is given another end is reminded of that again. The
// days are a literal: each of [subscription.ReminderDays] has an index of the trials that wait for their reminder.
func (r *Due) LockToRemind(
	ctx context.Context, w subscription.Window, days int, except []string, limit int,
) ([]subscription.Subscription, error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	q := &query{}
	where := q.in(end{"s.status = 'trialing'", "s.trial_ends_at", 0}, w, except)
	return database.All(ctx, r.db, "subscription: looking for trials that end soon", scan, selectOne+where+`
		AND (s.reminded_for IS NULL OR s.reminded_for <> s.trial_ends_at OR s.reminded_days > `+strconv.Itoa(days)+`)
		ORDER BY s.trial_ends_at LIMIT `+q.arg(limit)+r.db.Dialect().ForUpdateSkipLockedOf("s"), q.args...)
}

// MarkReminded implements [subscription.ReminderRepository].
func (r *Due) MarkReminded(ctx context.Context, ids []string, days int) error {
	args, in := database.In(ids, days)
	_, err := r.db.ExecTx(ctx, "subscription: storing who has been reminded",
		"UPDATE subscriptions SET reminded_for = trial_ends_at, reminded_days = $1 WHERE id IN ("+in+")", args...)
	return err
}

// FirstTrialEnd implements [subscription.ReminderRepository].
func (r *Due) FirstTrialEnd(ctx context.Context, w subscription.Window) (end time.Time, ok bool, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, `SELECT trial_ends_at FROM subscriptions WHERE status = 'trialing'
		AND deleted_at IS NULL AND trial_ends_at > $1 AND trial_ends_at <= $2 ORDER BY trial_ends_at LIMIT 1`,
		database.Truncate(w.Since), database.Truncate(w.Until)).Scan(database.UTC(&end))
	if database.IsNotFound(err) {
		return time.Time{}, false, nil
	}
	return end, err == nil, database.Wrap("subscription: looking for the first end of a trial", err)
}
