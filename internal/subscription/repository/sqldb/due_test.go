package sqldb_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

const grace = 10 * subscription.Day

var (
	allTime = subscription.Window{Until: now.AddDate(100, 0, 0)}
	ended   = subscription.Window{Until: now}
)

func (s suite) due() *sqldb.Due { return sqldb.NewDue(s.db, grace) }

func (s suite) lockEnded(w subscription.Window, except []string, limit int) (found []subscription.Subscription) {
	require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
		found, err = s.due().LockEnded(ctx, w, except, limit)
		return err
	}))
	return found
}

// store stores sub as it is, for a user of its own whose version has begun.
func (s suite) store(sub subscription.Subscription) subscription.Subscription {
	sub.ID, sub.UserID, sub.PlanID, sub.PlanCode = newID(), s.user(), s.plan.ID, s.plan.Code
	s.create(sub)
	s.exec("UPDATE subscriptions SET past_due_since = $2 WHERE id = $1", sub.ID, sub.PastDueSince)
	return sub
}

func (s suite) begin(userID string) {
	require.NoError(s.t, s.tx(func(ctx context.Context) error {
		_, err := s.repo.NextVersion(ctx, userID)
		return err
	}))
}

func (s suite) ending(d time.Duration) subscription.Subscription {
	end := now.Add(d)
	sub := s.store(subscription.Subscription{
		Status: subscription.StatusTrialing, TrialEndsAt: &end, StartsAt: now, CreatedAt: now, UpdatedAt: now,
	})
	s.begin(sub.UserID)
	return sub
}

func ids(all []subscription.Subscription) (ids []string) {
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestDue(t *testing.T) {
	t.Parallel()
	// One row for every status and combination of NULL times: the SQL and the rule in Go must agree on all.
	each(t, "knows the end that the rule gives", func(s suite) {
		at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
		var all []subscription.Subscription
		for _, status := range []subscription.Status{
			subscription.StatusTrialing, subscription.StatusActive, subscription.StatusPastDue,
			subscription.StatusCancelled, subscription.StatusExpired,
		} {
			for has := range 16 {
				sub := subscription.Subscription{Status: status, StartsAt: now, CreatedAt: now, UpdatedAt: now.Add(time.Hour)}
				if has&1 != 0 {
					sub.TrialEndsAt = at(time.Duration(has) * time.Minute)
				}
				if has&2 != 0 {
					sub.EndsAt = at(time.Duration(has) * time.Second)
				}
				if has&4 != 0 {
					sub.CancelledAt = at(time.Duration(has) * time.Millisecond)
				}
				if has&8 != 0 {
					sub.PastDueSince = at(-time.Duration(has) * time.Hour)
				}
				all = append(all, s.store(sub))
			}
		}
		due, ctx := s.due(), context.Background()
		count := 0
		for _, sub := range all {
			until := sub.EffectiveUntil(grace)
			if !sub.HasLiveStatus() || until == nil {
				continue
			}
			count++
			others := slices.DeleteFunc(ids(all), func(id string) bool { return id == sub.ID })
			first, ok, err := due.FirstEnd(ctx, allTime, others)
			require.NoError(s.t, err)
			require.True(s.t, ok, "%+v", sub)
			require.Equal(s.t, *until, first, "%+v", sub)
			for _, w := range []struct {
				window subscription.Window
				in     bool
			}{
				{subscription.Window{Until: *until}, true},
				{subscription.Window{Until: until.Add(-time.Microsecond)}, false},
				{subscription.Window{Since: *until, Until: allTime.Until}, false},
				{subscription.Window{Since: until.Add(-time.Microsecond), Until: allTime.Until}, true},
			} {
				_, ok, err := due.FirstEnd(ctx, w.window, others)
				require.NoError(s.t, err)
				require.Equal(s.t, w.in, ok, "%+v", sub)
			}
		}
		n, err := due.CountEnded(ctx, allTime)
		require.NoError(s.t, err)
		require.Equal(s.t, count, n)
		require.Len(s.t, s.lockEnded(allTime, nil, 100), count)
		_, ok, err := due.FirstEnd(ctx, subscription.Window{Since: allTime.Until, Until: allTime.Until.AddDate(1, 0, 0)}, nil)
		require.NoError(s.t, err)
		require.False(s.t, ok)
	})
	each(t, "locks the users of what has ended, oldest first", func(s suite) {
		oldest, old, fresh := s.ending(-3*time.Hour), s.ending(-2*time.Hour), s.ending(time.Hour)
		gone := s.ending(-time.Hour)
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		require.Equal(s.t, []string{oldest.ID}, ids(s.lockEnded(ended, nil, 1)))
		require.Equal(s.t, []string{old.ID}, ids(s.lockEnded(ended, []string{oldest.ID, fresh.ID}, 10)))
		require.Equal(s.t, ids([]subscription.Subscription{oldest, old}), ids(s.lockEnded(ended, nil, 10)))
		first := now.Add(-4 * time.Hour)
		paid := s.store(subscription.Subscription{
			Status: subscription.StatusActive, EndsAt: &first, StartsAt: now, CreatedAt: now, UpdatedAt: now,
		})
		s.begin(paid.UserID)
		require.Equal(s.t, []string{paid.ID}, ids(s.lockEnded(ended, nil, 1)), "of all kinds together")
		require.Equal(s.t, []string{oldest.ID}, ids(s.lockEnded(ended, []string{paid.ID}, 1)))
		_, err := s.due().LockEnded(context.Background(), ended, nil, 1)
		require.ErrorIs(s.t, err, database.ErrNoTx)
	})
	each(t, "begins the version of users who have none", func(s suite) {
		end := now.Add(-time.Hour)
		sub := s.store(subscription.Subscription{
			Status: subscription.StatusActive, EndsAt: &end, StartsAt: now, CreatedAt: now, UpdatedAt: now,
		})
		require.Equal(s.t, []string{sub.ID}, ids(s.lockEnded(ended, nil, 10)))
	})
	each(t, "raises versions and expires many at once", func(s suite) {
		one, two := s.ending(-time.Hour), s.ending(-time.Hour)
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			versions, err := s.due().RaiseVersions(ctx, []string{one.UserID, two.UserID})
			require.NoError(s.t, err)
			require.Equal(s.t, map[string]int64{one.UserID: 2, two.UserID: 2}, versions)
			return s.due().Expire(ctx, []string{one.ID, two.ID}, now)
		}))
		for _, want := range []subscription.Subscription{one, two} {
			want.Status, want.Version, want.UpdatedAt = subscription.StatusExpired, 2, now
			got, err := s.byID(want.ID)
			require.NoError(s.t, err)
			require.Equal(s.t, want, got)
		}
		require.Empty(s.t, s.lockEnded(ended, nil, 10))
		_, err := s.due().RaiseVersions(context.Background(), nil)
		require.ErrorIs(s.t, err, database.ErrNoTx)
		require.ErrorIs(s.t, s.due().Expire(context.Background(), []string{one.ID}, now), database.ErrNoTx)
	})
	each(t, "finds what the previous release has cancelled", func(s suite) {
		mine := s.ending(-time.Hour)
		cancelled := func(version int64) subscription.Subscription {
			end := now.Add(subscription.Day)
			sub := subscription.Subscription{
				ID: newID(), UserID: mine.UserID, PlanID: s.plan.ID, PlanCode: s.plan.Code, Status: subscription.StatusCancelled,
				EndsAt: &end, StartsAt: now, CreatedAt: now, UpdatedAt: now, Version: version,
			}
			return s.create(sub)
		}
		want := cancelled(0)
		cancelled(1)
		found, err := s.due().CancelledBefore(context.Background(), []string{mine.UserID})
		require.NoError(s.t, err)
		require.Equal(s.t, []subscription.Subscription{want}, found)
	})
	onPostgres(t, "passes over users whom another transaction holds", func(s suite) {
		held, free := s.ending(-2*time.Hour), s.ending(-time.Hour)
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			_, err := s.repo.NextVersion(ctx, held.UserID)
			require.NoError(s.t, err)
			require.Equal(s.t, []string{free.ID}, ids(s.lockEnded(ended, nil, 10)))
			return nil
		}))
	})
}

func TestReminders(t *testing.T) {
	t.Parallel()
	each(t, "are due once for each end and number of days", func(s suite) {
		soon, later := s.ending(time.Hour), s.ending(2*subscription.Day)
		s.ending(-time.Hour)
		lock := func(w subscription.Window, days int, except ...string) (found []subscription.Subscription) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				found, err = s.due().LockToRemind(ctx, w, days, except, 10)
				return err
			}))
			return found
		}
		mark := func(id string, days int) {
			require.NoError(s.t, s.tx(func(ctx context.Context) error { return s.due().MarkReminded(ctx, []string{id}, days) }))
		}
		within := func(days int) subscription.Window {
			return subscription.Window{Since: now, Until: now.Add(time.Duration(days) * subscription.Day)}
		}
		require.Equal(s.t, []string{soon.ID}, ids(lock(within(1), 1)))
		require.Equal(s.t, ids([]subscription.Subscription{soon, later}), ids(lock(within(3), 3)))
		require.Equal(s.t, []string{soon.ID}, ids(lock(within(3), 3, later.ID)))

		mark(later.ID, 3)
		mark(soon.ID, 1)
		require.Empty(s.t, lock(within(3), 3))
		require.Equal(s.t, []string{later.ID}, ids(lock(within(3), 1)), "it has had the earlier one only")
		mark(later.ID, 1)
		require.Empty(s.t, lock(within(3), 1))

		s.exec("UPDATE subscriptions SET trial_ends_at = $2 WHERE id = $1", later.ID, now.Add(70*time.Hour))
		require.Equal(s.t, []string{later.ID}, ids(lock(within(3), 3)), "another end")

		first, ok, err := s.due().FirstTrialEnd(context.Background(), allTime)
		require.NoError(s.t, err)
		require.True(s.t, ok)
		require.Equal(s.t, now.Add(-time.Hour), first)
		_, ok, err = s.due().FirstTrialEnd(context.Background(), subscription.Window{Since: now.AddDate(1, 0, 0), Until: allTime.Until})
		require.NoError(s.t, err)
		require.False(s.t, ok)
		_, err = s.due().LockToRemind(context.Background(), allTime, 1, nil, 1)
		require.ErrorIs(s.t, err, database.ErrNoTx)
	})
}

func TestPace(t *testing.T) {
	t.Parallel()
	each(t, "grants one turn at a time to all processes", func(s suite) {
		pace := sqldb.NewPace(s.db, "things")
		grant := func(at time.Time) (granted bool) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				granted, err = pace.Grant(ctx, at, time.Second)
				return err
			}))
			return granted
		}
		require.True(s.t, grant(now))
		require.False(s.t, grant(now.Add(time.Second-time.Microsecond)))
		require.True(s.t, grant(now.Add(time.Second)))
		require.ErrorIs(s.t, s.tx(func(ctx context.Context) error {
			granted, err := pace.Grant(ctx, now.Add(2*time.Second), time.Second)
			require.NoError(s.t, err)
			require.True(s.t, granted)
			return context.Canceled
		}), context.Canceled)
		require.True(s.t, grant(now.Add(2*time.Second)), "a rollback gives the turn back")
		granted := make([]bool, 8)
		together(len(granted), func(i int) error {
			granted[i] = grant(now.Add(time.Minute))
			return nil
		})
		require.Len(s.t, slices.DeleteFunc(granted, func(g bool) bool { return !g }), 1)
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			other, err := sqldb.NewPace(s.db, "other things").Grant(ctx, now, time.Second)
			require.True(s.t, other, "another name has turns of its own")
			return err
		}))
		_, err := pace.Grant(context.Background(), now, time.Second)
		require.ErrorIs(s.t, err, database.ErrNoTx)
	})
}
