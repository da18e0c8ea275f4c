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
		got, err = s.liveByUser(open.UserID)
		require.NoError(s.t, err)
		require.Equal(s.t, open, got)
	})
	each(t, "updates status, times and version", func(s suite) {
		sub := s.create(s.trial(s.user()))
		_, err := sub.Transition(subscription.StatusCancelled, subscription.Owner, now.Add(time.Hour), 0)
		require.NoError(s.t, err)
		ends := now.Add(48 * time.Hour)
		sub.Version, sub.EndsAt, sub.TrialEndsAt, sub.StartsAt = 2, &ends, nil, now.Add(time.Second)
		sub.PastDueSince = &ends
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
				return s.repo.Update(ctx, subscription.Subscription{ID: id, Status: "active"})
			})
			require.ErrorIs(s.t, err, subscription.ErrNotFound, id)
		}
		for _, id := range []string{gone.UserID, ended.UserID, newID(), "", "42"} {
			_, err := s.liveByUser(id)
			require.ErrorIs(s.t, err, subscription.ErrNotFound, id)
		}
		for _, id := range []string{ended.ID, strings.ToUpper(ended.ID), "urn:uuid:" + ended.ID} {
			_, err := s.byID(id)
			require.NoError(s.t, err, id)
		}
	})
	each(t, "keeps subscriptions of a deleted plan", func(s suite) {
		sub := s.create(s.trial(s.user()))
		s.exec("UPDATE plans SET deleted_at = $2 WHERE id = $1", s.plan.ID, now)
		got, err := s.liveByUser(sub.UserID)
		require.NoError(s.t, err)
		require.Equal(s.t, sub, got)
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
		got, err := s.liveByUser(first.UserID)
		require.NoError(s.t, err)
		require.Equal(s.t, first.ID, got.ID)
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
	each(t, "returns one subscription per user in pages", func(s suite) {
		row := func(user string, version int64, status subscription.Status, updated time.Time) subscription.Subscription {
			sub := s.trial(user)
			sub.Version, sub.Status, sub.UpdatedAt = version, status, updated
			return s.create(sub)
		}
		later := now.Add(time.Hour)
		versioned, old, oldLive, deleted := s.user(), s.user(), s.user(), s.user()
		s.user() // has no subscription
		row(versioned, 0, subscription.StatusExpired, later.Add(time.Hour))
		row(versioned, 9, subscription.StatusCancelled, later)
		wantVersioned := row(versioned, 10, subscription.StatusTrialing, now)
		row(old, 0, subscription.StatusCancelled, now)
		wantOld := row(old, 0, subscription.StatusExpired, later)
		wantLive := row(oldLive, 0, subscription.StatusActive, now)
		row(oldLive, 0, subscription.StatusCancelled, later)
		gone := row(deleted, 5, subscription.StatusTrialing, later)
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", gone.ID, now)

		page := func(after string, limit int) (got []subscription.Subscription) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				got, err = s.repo.LatestPerUser(ctx, after, limit)
				return err
			}))
			return got
		}
		// v7 ids are ordered by time: users are returned in the order of their creation.
		require.Equal(s.t, []subscription.Subscription{wantVersioned, wantOld, wantLive}, page("", 10))
		require.Equal(s.t, []subscription.Subscription{wantVersioned, wantOld}, page("", 2))
		require.Equal(s.t, []subscription.Subscription{wantLive}, page(old, 2))
		require.Empty(s.t, page(oldLive, 2))
	})
	// One row of the previous release without its times must not end the rebuilding of everybody's state.
	onPostgres(t, "reads rows without times, and takes none of them for the latest", func(s suite) {
		user := s.user()
		unknown := s.trial(user)
		unknown.Status, unknown.StartsAt = subscription.StatusExpired, now.AddDate(-1, 0, 0)
		s.create(unknown)
		s.exec("UPDATE subscriptions SET created_at = NULL, updated_at = NULL")
		unknown.CreatedAt, unknown.UpdatedAt = unknown.StartsAt, unknown.StartsAt
		got, err := s.byID(unknown.ID)
		require.NoError(s.t, err)
		require.Equal(s.t, unknown, got)

		known := s.trial(user)
		known.Status = subscription.StatusExpired
		s.create(known)
		latest, err := s.repo.LatestPerUser(context.Background(), "", 10)
		require.NoError(s.t, err)
		require.Equal(s.t, []subscription.Subscription{known}, latest)
	})
}
