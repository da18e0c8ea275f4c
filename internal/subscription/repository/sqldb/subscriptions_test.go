package sqldb_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	each(t, "returns what was stored", func(s suite) {
		ends, cancelled, since := now.Add(time.Hour+time.Microsecond), now.Add(time.Minute), now.Add(time.Second)
		want := s.trial(s.user())
		want.Version, want.EndsAt, want.CancelledAt, want.PastDueSince = 3, &ends, &cancelled, &since
		s.create(want)

		got, err := s.byID(want.ID)
		require.NoError(s.t, err)
		require.Equal(s.t, want, got)
		require.Equal(s.t, time.UTC, got.StartsAt.Location())
		require.Equal(s.t, time.UTC, got.TrialEndsAt.Location())

		open := subscription.Subscription{
			ID: newID(), UserID: s.user(), PlanID: s.plan.ID, PlanCode: s.plan.Code, Status: subscription.StatusActive,
			StartsAt: now, CreatedAt: now, UpdatedAt: now,
		}
		s.create(open)
		require.Equal(s.t, []subscription.Subscription{open}, s.latestOf(open.UserID))
	})
	each(t, "updates plan, status, times and version", func(s suite) {
		sub := s.create(s.trial(s.user()))
		_, err := sub.Transition(subscription.StatusCancelled, subscription.Owner, now.Add(time.Hour), 0)
		require.NoError(s.t, err)
		ends := now.Add(48 * time.Hour)
		sub.Version, sub.EndsAt, sub.TrialEndsAt, sub.StartsAt = 2, &ends, nil, now.Add(time.Second)
		sub.PastDueSince = &ends
		pro, err := s.createPlan(subscription.Plan{ID: newID(), Name: "Pro", Code: "pro", CreatedAt: now, UpdatedAt: now})
		require.NoError(s.t, err)
		sub.PlanID, sub.PlanCode = pro.ID, pro.Code
		require.NoError(s.t, s.tx(func(ctx context.Context) error { return s.repo.Update(ctx, sub) }))
		got, err := s.byID(sub.ID)
		require.NoError(s.t, err)
		require.Equal(s.t, sub, got)

		sub.ID = newID()
		err = s.tx(func(ctx context.Context) error { return s.repo.Update(ctx, sub) })
		require.ErrorIs(s.t, err, subscription.ErrNotFound)
	})
	each(t, "finds no deleted rows and no invalid ids", func(s suite) {
		gone := s.create(s.trial(s.user()))
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		ended := s.trial(s.user())
		ended.Status = subscription.StatusExpired
		s.create(ended)

		for _, id := range []string{gone.ID, newID(), "", "42", "' OR 1=1 --"} {
			_, err := s.byID(id)
			require.ErrorIs(s.t, err, subscription.ErrNotFound, id)
			err = s.tx(func(ctx context.Context) error {
				return s.repo.Update(ctx, subscription.Subscription{ID: id, PlanID: s.plan.ID, Status: "active"})
			})
			require.ErrorIs(s.t, err, subscription.ErrNotFound, id)
			err = s.tx(func(ctx context.Context) error { return s.repo.Delete(ctx, id, now) })
			require.ErrorIs(s.t, err, subscription.ErrNotFound, id)
		}
		for _, id := range []string{gone.UserID, newID(), "", "42"} {
			require.Empty(s.t, s.latestOf(id), id)
		}
		for _, id := range []string{ended.ID, strings.ToUpper(ended.ID), "urn:uuid:" + ended.ID} {
			_, err := s.byID(id)
			require.NoError(s.t, err, id)
		}
	})
	each(t, "keeps subscriptions of a deleted plan", func(s suite) {
		sub := s.create(s.trial(s.user()))
		s.exec("UPDATE plans SET deleted_at = $2 WHERE id = $1", s.plan.ID, now)
		require.Equal(s.t, []subscription.Subscription{sub}, s.latestOf(sub.UserID))
	})
	each(t, "stores one live subscription per user", func(s suite) {
		first := s.create(s.trial(s.user()))
		past := s.trial(first.UserID)
		past.Status = subscription.StatusCancelled
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			if err := s.repo.Create(ctx, s.trial(first.UserID)); !errors.Is(err, subscription.ErrActiveExists) {
				return errors.New("a second live subscription was stored")
			}
			return s.repo.Create(ctx, past) // the transaction is still usable, and past subscriptions do not count
		}))
		require.Len(s.t, s.latestOf(first.UserID), 2)
	})
	each(t, "stores one of two concurrent subscriptions", func(s suite) {
		for range 10 {
			user := s.user()
			errs := together(2, func(int) error {
				return s.tx(func(ctx context.Context) error { return s.repo.Create(ctx, s.trial(user)) })
			})
			if errs[0] == nil {
				errs[0], errs[1] = errs[1], errs[0]
			}
			require.ErrorIs(s.t, errs[0], subscription.ErrActiveExists)
			require.NoError(s.t, errs[1])
		}
	})
	each(t, "writes only in a transaction", func(s suite) {
		ctx := context.Background()
		sub := s.trial(s.user())
		_, err := s.repo.NextVersion(ctx, sub.UserID)
		require.ErrorIs(s.t, err, database.ErrNoTx)
		require.ErrorIs(s.t, s.repo.Create(ctx, sub), database.ErrNoTx)
		require.ErrorIs(s.t, s.repo.Update(ctx, sub), database.ErrNoTx)
		require.ErrorIs(s.t, s.repo.Delete(ctx, sub.ID, now), database.ErrNoTx)
		require.ErrorIs(s.t, s.repo.SetBilled(ctx, sub.UserID, subscription.Billed{}), database.ErrNoTx)
		_, err = s.repo.Lock(ctx, sub.UserID)
		require.ErrorIs(s.t, err, database.ErrNoTx)
	})
}

func TestNextVersion(t *testing.T) {
	t.Parallel()
	each(t, "is consecutive per user", func(s suite) {
		const n = 20
		user, other := s.user(), s.user()
		next := func(user string, version *int64) func(ctx context.Context) error {
			return func(ctx context.Context) (err error) {
				*version, err = s.repo.NextVersion(ctx, user)
				return err
			}
		}
		got := make([]int64, n)
		for _, err := range together(n, func(i int) error { return s.tx(next(user, &got[i])) }) {
			require.NoError(s.t, err)
		}
		want := make([]int64, n)
		for i := range want {
			want[i] = int64(i) + 1
		}
		require.ElementsMatch(s.t, want, got)

		var version int64
		undone := errors.New("undone")
		require.ErrorIs(s.t, s.tx(func(ctx context.Context) error {
			require.NoError(s.t, next(user, &version)(ctx))
			return undone
		}), undone)
		require.NoError(s.t, s.tx(next(user, &version)))
		require.EqualValues(s.t, n+1, version, "a rollback reverts the version")
		require.NoError(s.t, s.tx(next(other, &version)))
		require.EqualValues(s.t, 1, version, "every user has their own versions")
	})
	// A transaction that waited in NextVersion sees what the holder of the lock wrote.
	each(t, "locks the user", func(s suite) {
		sub := s.create(s.trial(s.user()))
		holding, seen := make(chan struct{}), make(chan subscription.Status, 1)
		held := sync.OnceFunc(func() { close(holding) })
		errs := together(2, func(i int) error {
			if i == 1 {
				<-holding
				return s.tx(func(ctx context.Context) error {
					if _, err := s.repo.NextVersion(ctx, sub.UserID); err != nil {
						return err
					}
					got, err := s.repo.ByID(ctx, sub.ID)
					seen <- got.Status
					return err
				})
			}
			defer held() // even after an error
			return s.tx(func(ctx context.Context) error {
				if _, err := s.repo.NextVersion(ctx, sub.UserID); err != nil {
					return err
				}
				held()
				changed := sub
				if _, err := changed.Transition(subscription.StatusCancelled, subscription.Owner, now, 0); err != nil {
					return err
				}
				return s.repo.Update(ctx, changed)
			})
		})
		require.NoError(s.t, errors.Join(errs...))
		require.Equal(s.t, subscription.StatusCancelled, <-seen)
	})
}

func TestLatestPerUser(t *testing.T) {
	t.Parallel()
	each(t, "returns the latest of each user in pages", func(s suite) {
		row := func(user string, version int64, status subscription.Status) subscription.Subscription {
			sub := s.trial(user)
			sub.Version, sub.Status = version, status
			return s.create(sub)
		}
		versioned, old, deleted, expired := s.user(), s.user(), s.user(), s.user()
		s.user() // has no subscription
		row(versioned, 0, subscription.StatusExpired)
		row(versioned, 9, subscription.StatusCancelled)
		wantVersioned := row(versioned, 10, subscription.StatusTrialing)
		firstOld, secondOld := row(old, 0, subscription.StatusCancelled), row(old, 0, subscription.StatusActive)
		row(deleted, 5, subscription.StatusTrialing)
		row(expired, 5, subscription.StatusCancelled)
		wantExpired := row(expired, 6, subscription.StatusExpired) // as deleting leaves it
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE user_id = $1", deleted, now)
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", wantExpired.ID, now)

		page := func(after string, limit int) (got []subscription.Subscription) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				got, err = s.repo.LatestPerUser(ctx, after, limit)
				return err
			}))
			return got
		}
		// v7 ids are ordered by time: users are returned in the order of their creation.
		require.Equal(s.t, []subscription.Subscription{wantVersioned, firstOld, secondOld, wantExpired}, page("", 10))
		require.Equal(s.t, []subscription.Subscription{wantVersioned, firstOld, secondOld}, page("", 2))
		require.Equal(s.t, []subscription.Subscription{wantExpired}, page(old, 2))

		s.exec("UPDATE users SET username = CAST(id AS text), full_name = NULL, password_hash = NULL, deleted_at = $2, erased_at = $2 WHERE id = $1", old, now)
		require.Equal(s.t, []subscription.Subscription{wantVersioned, wantExpired}, page("", 2), "erased users have no state")
		require.Empty(s.t, page(expired, 2))
		require.Equal(s.t, []subscription.Subscription{wantVersioned}, s.latestOf(versioned))
		require.Equal(s.t, []subscription.Subscription{firstOld, secondOld}, s.latestOf(old))
		require.Equal(s.t, []subscription.Subscription{wantExpired}, s.latestOf(expired))
	})
	// One row of the previous release without its times must not end the rebuilding of everybody's state.
	onPostgres(t, "reads rows without times", func(s suite) {
		unknown := s.trial(s.user())
		unknown.Status, unknown.StartsAt = subscription.StatusExpired, now.AddDate(-1, 0, 0)
		s.create(unknown)
		s.exec("UPDATE subscriptions SET created_at = NULL, updated_at = NULL")
		unknown.CreatedAt, unknown.UpdatedAt = unknown.StartsAt, unknown.StartsAt
		got, err := s.byID(unknown.ID)
		require.NoError(s.t, err)
		require.Equal(s.t, unknown, got)
		require.Equal(s.t, []subscription.Subscription{unknown}, s.latestOf(unknown.UserID))
	})
}

func TestBilled(t *testing.T) {
	t.Parallel()
	each(t, "is kept under the user's lock", func(s suite) {
		user := s.user()
		lock := func(ctx context.Context) subscription.Billed {
			b, err := s.repo.Lock(ctx, user)
			require.NoError(s.t, err)
			return b
		}
		want := subscription.Billed{At: now, State: "active"}
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			require.Zero(s.t, lock(ctx))
			return s.repo.SetBilled(ctx, user, want)
		}))
		require.NoError(s.t, s.tx(func(ctx context.Context) error {
			require.Equal(s.t, want, lock(ctx))
			version, err := s.repo.NextVersion(ctx, user)
			require.EqualValues(s.t, 1, version, "locking leaves the version as it is")
			return err
		}))
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	each(t, "returns the selected, the newest first, without deleted ones", func(s suite) {
		pro, err := s.createPlan(subscription.Plan{ID: newID(), Name: "Pro", Code: "pro", CreatedAt: now, UpdatedAt: now})
		require.NoError(s.t, err)
		an, binh := s.user(), s.user()
		row := func(user string, plan subscription.Plan, status subscription.Status, after time.Duration) subscription.Subscription {
			sub := s.trial(user)
			sub.PlanID, sub.PlanCode, sub.Status, sub.CreatedAt = plan.ID, plan.Code, status, now.Add(after)
			return s.create(sub)
		}
		first := row(an, s.plan, subscription.StatusExpired, 0)
		second := row(an, pro, subscription.StatusActive, time.Hour)
		third := row(binh, s.plan, subscription.StatusCancelled, 2*time.Hour)
		gone := row(binh, s.plan, subscription.StatusCancelled, 3*time.Hour)
		require.NoError(s.t, s.tx(func(ctx context.Context) error { return s.repo.Delete(ctx, gone.ID, now) }))
		for name, tt := range map[string]struct {
			filter subscription.Filter
			want   []subscription.Subscription
			total  int
		}{
			"all":       {subscription.Filter{Limit: 9}, []subscription.Subscription{third, second, first}, 3},
			"a page":    {subscription.Filter{Limit: 1, Offset: 1}, []subscription.Subscription{second}, 3},
			"behind":    {subscription.Filter{Limit: 9, Offset: 3}, nil, 3},
			"by id":     {subscription.Filter{Limit: 9, IDs: []string{strings.ToUpper(first.ID), gone.ID, "x"}}, []subscription.Subscription{first}, 1},
			"by user":   {subscription.Filter{Limit: 9, UserIDs: []string{an}}, []subscription.Subscription{second, first}, 2},
			"by plan":   {subscription.Filter{Limit: 9, PlanIDs: []string{pro.ID}}, []subscription.Subscription{second}, 1},
			"by status": {subscription.Filter{Limit: 9, Statuses: []subscription.Status{"cancelled", "expired"}}, []subscription.Subscription{third, first}, 2},
			"by all": {subscription.Filter{
				Limit: 9, UserIDs: []string{an, binh}, PlanIDs: []string{s.plan.ID}, Statuses: []subscription.Status{"expired"},
			}, []subscription.Subscription{first}, 1},
		} {
			got, total, err := s.repo.List(context.Background(), tt.filter)
			require.NoError(s.t, err, name)
			require.Equal(s.t, tt.want, got, name)
			require.Equal(s.t, tt.total, total, name)
		}
	})
}
