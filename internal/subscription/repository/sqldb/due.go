package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// Due implements [subscription.DueRepository] and [subscription.ReminderRepository].
type Due struct {
	*Subscriptions
	grace   time.Duration
	pastDue string // the column that says since when a subscription is past due
}

// NewDue returns a repository on db. grace is that of [subscription.Subscription.EffectiveUntil].
func NewDue(db *database.DB, grace time.Duration) *Due {
	return &Due{NewSubscriptions(db), grace, "COALESCE(s.past_due_since, s.updated_at, s.starts_at)"}
}

// NewDueBefore is [NewDue] for a database whose migration 00009 is pending. It can count only.
func NewDueBefore(db *database.DB, grace time.Duration) *Due {
	return &Due{NewSubscriptions(db), grace, "COALESCE(s.updated_at, s.starts_at)"}
}

var (
	_ subscription.DueRepository      = (*Due)(nil)
	_ subscription.ReminderRepository = (*Due)(nil)
)

// end is one way in which a subscription with a live status has an end: column plus shift. Each has an index.
type end struct {
	when, column string
	shift        time.Duration
}

// ends is [subscription.Subscription.EffectiveUntil] in SQL; a test compares the two.
func (r *Due) ends() []end {
	return []end{
		{"s.status = 'trialing'", "s.trial_ends_at", 0},
		{"s.status = 'trialing' AND s.trial_ends_at IS NULL", "s.ends_at", 0},
		{"s.status = 'trialing' AND s.trial_ends_at IS NULL AND s.ends_at IS NULL", "s.starts_at", subscription.TrialLength},
		{"s.status = 'active'", "s.ends_at", 0},
		{"s.status = 'past_due'", "s.ends_at", 0},
		{"s.status = 'past_due' AND s.ends_at IS NULL", r.pastDue, r.grace},
	}
}

// query collects the arguments of a statement.
type query struct{ args []any }

func (q *query) arg(v any) string {
	if t, ok := v.(time.Time); ok {
		v = database.Truncate(t)
	}
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

// in returns the condition that e is in w, for a subscription s that is not in except.
func (q *query) in(e end, w subscription.Window, except []string) string {
	where := fmt.Sprintf("s.deleted_at IS NULL AND %s AND %s > %s AND %[2]s <= %[4]s",
		e.when, e.column, q.arg(w.Since.Add(-e.shift)), q.arg(w.Until.Add(-e.shift)))
	if len(except) == 0 {
		return where
	}
	names := make([]string, len(except))
	for i, id := range except {
		names[i] = q.arg(id)
	}
	return where + " AND s.id NOT IN (" + strings.Join(names, ", ") + ")"
}

// LockEnded implements [subscription.DueRepository]. Users of the previous release have no version yet: they get theirs
// when nobody else is left.
func (r *Due) LockEnded(
	ctx context.Context, w subscription.Window, except []string, limit int,
) ([]subscription.Subscription, error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	found, err := r.lockUsers(ctx, w, except, limit)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if begun, err := r.beginVersions(ctx, w, except, limit); err != nil || begun == 0 {
		return nil, err
	}
	return r.lockUsers(ctx, w, except, limit)
}

// lockUsers locks the subscriptions too: the rows are then as they are under the lock, and not as they were before.
func (r *Due) lockUsers(
	ctx context.Context, w subscription.Window, except []string, limit int,
) ([]subscription.Subscription, error) {
	q := &query{}
	most := q.arg(limit)
	var parts, names []string
	for i, e := range r.ends() {
		name := "end" + strconv.Itoa(i)
		names = append(names, "SELECT * FROM "+name)
		// MATERIALIZED: the planner must not run the locking subqueries more than once.
		parts = append(parts, name+" AS MATERIALIZED (SELECT "+columns+` FROM subscriptions s
			JOIN subscription_versions v ON v.user_id = s.user_id JOIN plans p ON p.id = s.plan_id
			WHERE `+q.in(e, w, except)+" ORDER BY "+e.column+" LIMIT "+most+r.db.Dialect().ForUpdateSkipLockedOf("v, s")+")")
	}
	found, err := database.All(ctx, r.db, "subscription: locking the users of ended subscriptions", scan,
		"WITH "+strings.Join(parts, ", ")+" "+strings.Join(names, " UNION ALL "), q.args...)
	slices.SortFunc(found, func(a, b subscription.Subscription) int {
		return a.EffectiveUntil(r.grace).Compare(*b.EffectiveUntil(r.grace))
	})
	return found[:min(limit, len(found))], err
}

// beginVersions gives users without a version the version 0.
func (r *Due) beginVersions(ctx context.Context, w subscription.Window, except []string, limit int) (begun int64, err error) {
	for _, e := range r.ends() {
		q := &query{}
		n, err := r.db.Exec(ctx, "subscription: beginning the versions of users", `INSERT INTO subscription_versions
			(user_id, version) SELECT s.user_id, 0 FROM subscriptions s
			WHERE NOT EXISTS (SELECT 1 FROM subscription_versions v WHERE v.user_id = s.user_id) AND `+
			q.in(e, w, except)+" ORDER BY "+e.column+" LIMIT "+q.arg(limit)+" ON CONFLICT DO NOTHING", q.args...)
		if err != nil {
			return 0, err
		}
		begun += n
	}
	return begun, nil
}

func (r *Due) byIDs(ctx context.Context, ids []string) ([]subscription.Subscription, error) {
	args, in := database.In(ids)
	return database.All(ctx, r.db, "subscription: reading ended subscriptions", scan,
		selectOne+"s.id IN ("+in+") ORDER BY s.user_id", args...)
}

// RaiseVersions implements [subscription.DueRepository].
func (r *Due) RaiseVersions(ctx context.Context, userIDs []string) (map[string]int64, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	const doing = "subscription: raising the versions of users"
	args, in := database.In(userIDs)
	rows, err := tx.QueryContext(ctx, "UPDATE subscription_versions SET version = version + 1 WHERE user_id IN ("+in+
		") RETURNING user_id, version", args...)
	if err != nil {
		return nil, database.Wrap(doing, err)
	}
	defer rows.Close()
	versions := make(map[string]int64, len(userIDs))
	for rows.Next() {
		var userID string
		var version int64
		if err := rows.Scan(&userID, &version); err != nil {
			return nil, database.Wrap(doing, err)
		}
		versions[userID] = version
	}
	return versions, database.Wrap(doing, rows.Err())
}

// Expire implements [subscription.DueRepository].
func (r *Due) Expire(ctx context.Context, ids []string, now time.Time) error {
	args, in := database.In(ids, database.Truncate(now))
	_, err := r.db.ExecTx(ctx, "subscription: storing what has expired", `UPDATE subscriptions AS s SET status = 'expired',
		version = v.version, updated_at = $1, past_due_since = NULL FROM subscription_versions v
		WHERE v.user_id = s.user_id AND s.id IN (`+in+")", args...)
	return err
}

// CancelledBefore implements [subscription.DueRepository].
func (r *Due) CancelledBefore(ctx context.Context, userIDs []string) ([]subscription.Subscription, error) {
	args, in := database.In(userIDs)
	return database.All(ctx, r.db, "subscription: reading what the previous release has cancelled", scan,
		selectOne+"s.status = 'cancelled' AND s.version = 0 AND s.user_id IN ("+in+") ORDER BY s.user_id, s.id", args...)
}

// FirstEnd implements [subscription.DueRepository].
func (r *Due) FirstEnd(
	ctx context.Context, w subscription.Window, except []string,
) (first time.Time, ok bool, err error) {
	q := &query{}
	var parts []string
	for _, e := range r.ends() {
		parts = append(parts, "SELECT id FROM (SELECT s.id FROM subscriptions s WHERE "+q.in(e, w, except)+
			" ORDER BY "+e.column+" LIMIT 1) AS e")
	}
	ids, err := database.All(ctx, r.db, "subscription: looking for the first end", database.Text,
		strings.Join(parts, " UNION ALL "), q.args...)
	if err != nil || len(ids) == 0 {
		return first, false, err
	}
	found, err := r.byIDs(ctx, ids)
	for _, s := range found {
		if until := s.EffectiveUntil(r.grace); until != nil && (!ok || until.Before(first)) {
			first, ok = *until, true
		}
	}
	return first, ok, err
}

// CountEnded implements [subscription.DueRepository].
func (r *Due) CountEnded(ctx context.Context, w subscription.Window) (count int, err error) {
	q := &query{}
	var conditions []string
	for _, e := range r.ends() {
		conditions = append(conditions, "("+q.in(e, w, nil)+")")
	}
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM subscriptions s WHERE "+
		strings.Join(conditions, " OR "), q.args...).Scan(&count)
	return count, database.Wrap("subscription: counting what has ended", err)
}
