package sqldb_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var (
	_ notification.Ledger     = (*sqldb.Ledger)(nil)
	_ notification.OwedLedger = (*sqldb.Ledger)(nil)
)

const eventID = "evt_1"

var now = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

type suite struct {
	*testing.T
	db     *database.DB
	ledger *sqldb.Ledger
}

// each runs test on every engine.
func each(t *testing.T, test func(s suite)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) { test(suite{t, db, sqldb.NewLedger(db)}) })
}

func fresh() notification.Delivery {
	return notification.NewDelivery(eventID, eventID+"@smap.example", now)
}

// lock returns the entry as another transaction sees it.
func (s suite) lock(of notification.Delivery) (found notification.Delivery) {
	s.Helper()
	require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) (err error) {
		found, err = s.ledger.Lock(ctx, of)
		return err
	}))
	return found
}

// change is lock and Save in one transaction.
func (s suite) change(change func(d *notification.Delivery)) error {
	return s.db.WithinTx(context.Background(), func(ctx context.Context) error {
		d, err := s.ledger.Lock(ctx, fresh())
		if err != nil {
			return err
		}
		change(&d)
		return s.ledger.Save(ctx, d)
	})
}

// owe stores entries in a transaction.
func (s suite) owe(entries ...notification.Delivery) error {
	return s.db.WithinTx(context.Background(), func(ctx context.Context) error { return s.ledger.Owe(ctx, entries) })
}

func (s suite) store(statement string, args ...any) {
	s.Helper()
	_, err := s.db.Exec(context.Background(), "storing", statement, args...)
	require.NoError(s, err)
}

func (s suite) state(eventID string) notification.State {
	s.Helper()
	state, err := s.ledger.State(context.Background(), eventID)
	require.NoError(s, err)
	return state
}

func (s suite) count() (n int) {
	s.Helper()
	require.NoError(s, s.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT count(*) FROM mail_deliveries").Scan(&n))
	return n
}

func TestLock(t *testing.T) {
	t.Parallel()
	t.Run("stores a fresh entry once", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			require.Equal(s, fresh(), s.lock(fresh()))
			later := notification.NewDelivery(eventID, "another@smap.example", now.Add(time.Hour))
			require.Equal(s, fresh(), s.lock(later), "an existing entry stays as it is")
			require.Equal(s, 1, s.count())
		})
	})

	t.Run("is rolled back with its transaction", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			errRefused := errors.New("refused")
			require.ErrorIs(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
				_, err := s.ledger.Lock(ctx, fresh())
				require.NoError(s, err)
				return errRefused
			}), errRefused)
			require.Zero(s, s.count())
		})
	})

	// Twenty transactions read, add one and write at once: one that did not wait would lose a count.
	t.Run("makes other transactions wait", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			const many = 20
			failed := make(chan error, many)
			var ready, done sync.WaitGroup
			ready.Add(many)
			for range many {
				done.Go(func() {
					ready.Done()
					ready.Wait()
					failed <- s.change(func(d *notification.Delivery) { d.Attempts++ })
				})
			}
			done.Wait()
			close(failed)
			for err := range failed {
				require.NoError(s, err)
			}
			require.Equal(s, 1, s.count())
			require.Equal(s, many, s.lock(fresh()).Attempts)
		})
	})

	t.Run("needs a transaction, as Save does", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			_, err := s.ledger.Lock(context.Background(), fresh())
			require.ErrorIs(s, err, database.ErrNoTx)
			require.ErrorIs(s, s.ledger.Save(context.Background(), fresh()), database.ErrNoTx)
			require.Zero(s, s.count())
		})
	})
}

func TestSave(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		until := now.Add(time.Minute + time.Microsecond)
		want := notification.Delivery{
			EventID: eventID, State: notification.StateSending, LeaseUntil: &until, Attempts: 2, Resends: 1,
			MessageID: eventID + "@smap.example", ErrorClass: "smtp_end_of_data", CreatedAt: now, UpdatedAt: now.Add(time.Second),
		}
		require.NoError(s, s.change(func(d *notification.Delivery) { *d = want }))
		found := s.lock(fresh())
		require.Equal(s, want, found)
		for _, at := range []time.Time{*found.LeaseUntil, found.CreatedAt, found.UpdatedAt} {
			require.Equal(s, time.UTC, at.Location())
		}

		for _, state := range []notification.State{
			notification.StateAccepted, notification.StateFailed, notification.StateExpired, notification.StateSuperseded,
		} {
			want.State, want.LeaseUntil, want.ErrorClass = state, nil, ""
			require.NoError(s, s.change(func(d *notification.Delivery) { *d = want }))
			require.Equal(s, want, s.lock(fresh()))
			require.Equal(s, state, s.state(eventID))
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		require.Empty(s, s.state("evt_unknown"))
		require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
			state, err := s.ledger.State(ctx, eventID)
			require.Empty(s, state)
			return err
		}), "in a transaction as well")
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.ledger.State(ended, eventID)
		require.ErrorIs(s, err, context.Canceled, "a failure is not an unknown mail")
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		ctx := context.Background()
		states := []notification.State{
			notification.StateSending, notification.StateAccepted, notification.StateFailed, notification.StateExpired,
			notification.StateSuperseded, notification.StateOwed, notification.StateLegacy,
		}
		const many = 1000
		ids := make([]string, many)
		want := map[string]notification.State{}
		for i := range ids {
			ids[i] = "evt_" + strconv.Itoa(i)
			if i%40 != 0 && i != many-1 {
				continue // no try has claimed it
			}
			require.NoError(s, s.db.WithinTx(ctx, func(ctx context.Context) error {
				d, err := s.ledger.Lock(ctx, notification.NewDelivery(ids[i], ids[i]+"@smap.example", now))
				require.NoError(s, err)
				d.State = states[i/40%len(states)]
				if !d.State.Open() {
					want[ids[i]] = d.State
				}
				return s.ledger.Save(ctx, d)
			}))
		}
		found, err := s.ledger.Outcomes(ctx, ids)
		require.NoError(s, err)
		require.Equal(s, want, found)
		found, err = s.ledger.Outcomes(ctx, []string{"evt_40", "evt_0", "evt_40"})
		require.NoError(s, err)
		require.Equal(s, map[string]notification.State{"evt_40": notification.StateAccepted}, found, "no other mail's")
		found, err = s.ledger.Outcomes(ctx, nil)
		require.NoError(s, err)
		require.Empty(s, found)
		require.NoError(s, s.db.WithinTx(ctx, func(ctx context.Context) error {
			_, err := s.ledger.Outcomes(ctx, ids)
			return err
		}), "in a transaction as well")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.ledger.Outcomes(ended, ids)
		require.ErrorIs(s, err, context.Canceled)
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		ctx := context.Background()
		require.NoError(s, s.ledger.Reopen(ctx, "evt_unknown", now))
		require.Zero(s, s.count())

		until := now.Add(time.Minute)
		for _, found := range []notification.Delivery{
			{State: notification.StateSending, LeaseUntil: &until, Resends: 1}, {State: notification.StateAccepted},
			{State: notification.StateExpired}, {State: notification.StateSuperseded},
		} {
			require.NoError(s, s.change(func(d *notification.Delivery) {
				d.State, d.LeaseUntil, d.Resends = found.State, found.LeaseUntil, found.Resends
			}))
			before := s.lock(fresh())
			require.NoError(s, s.ledger.Reopen(ctx, eventID, now))
			require.Equal(s, before, s.lock(fresh()), found.State)
		}

		require.NoError(s, s.change(func(d *notification.Delivery) {
			d.Resends, d.Attempts = notification.MaxResends, 2
			d.Fail(notification.ErrAmbiguous.ErrorClass(), now)
		}))
		require.NoError(s, s.ledger.Reopen(ctx, eventID, now.Add(time.Hour)))
		reopened := s.lock(fresh())
		require.Equal(s, notification.StateOwed, reopened.State)
		require.Equal(s, now.Add(time.Hour), reopened.DueAt, "nobody has waited since the first try")
		repeat, err := reopened.Claim(now, time.Minute, notification.MaxResends)
		require.NoError(s, err)
		require.False(s, repeat)
		require.Zero(s, reopened.Resends)
		require.Equal(s, 3, reopened.Attempts, "tries keep their numbers")
	})
}

func TestFailLost(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		then := now.Add(-time.Hour)
		old, vanished, running := then.Add(-time.Microsecond), then.Add(-time.Minute), now.Add(time.Minute)
		store := func(id string, state notification.State, updated time.Time, lease *time.Time) {
			require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
				d, err := s.ledger.Lock(ctx, notification.NewDelivery(id, id+"@smap.example", updated))
				require.NoError(s, err)
				d.State, d.UpdatedAt, d.LeaseUntil = state, updated, lease
				return s.ledger.Save(ctx, d)
			}))
		}
		store("lost", notification.StateSending, old, nil)
		store("lost in doubt", notification.StateSending, old, &vanished)
		store("being sent", notification.StateSending, old, &running)
		store("not old enough", notification.StateSending, then, nil)
		store("accepted", notification.StateAccepted, old, nil)
		store("owed", notification.StateOwed, old, nil)
		store("left to the previous release", notification.StateLegacy, old, nil)
		store("in the outbox", notification.StateOwed, old, nil)
		s.store("INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed, "+
			"event_time, created_at, available_at) VALUES ($1, 'in the outbox', 'x', 'x', 'x', true, '{}', '', false, $2, $2, $2)",
			uuid.NewString(), old)

		n, err := s.ledger.FailLost(context.Background(), then, now)
		require.NoError(s, err)
		require.EqualValues(s, 3, n)
		for id, want := range map[string]notification.State{
			"lost": notification.StateFailed, "lost in doubt": notification.StateFailed, "owed": notification.StateFailed,
			"in the outbox": notification.StateOwed, "left to the previous release": notification.StateLegacy,
			"being sent": notification.StateSending, "not old enough": notification.StateSending,
			"accepted": notification.StateAccepted,
		} {
			require.Equal(s, want, s.state(id), id)
		}

		// An event that does come back is not held against its mail.
		for id, repeat := range map[string]bool{"lost": false, "lost in doubt": true} {
			d := s.lock(notification.NewDelivery(id, id+"@smap.example", now))
			require.Equal(s, notification.ClassLost, d.ErrorClass)
			require.Equal(s, now, d.UpdatedAt)
			got, err := d.Claim(now, time.Minute, notification.MaxResends)
			require.NoError(s, err)
			require.Equal(s, repeat, got, id)
			require.Equal(s, notification.StateSending, d.State)
		}
	})
}

func TestPurge(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		store := func(id string, updated time.Time, lease *time.Time) {
			require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
				d, err := s.ledger.Lock(ctx, notification.NewDelivery(id, id+"@smap.example", updated))
				require.NoError(s, err)
				d.UpdatedAt, d.LeaseUntil = updated, lease
				return s.ledger.Save(ctx, d)
			}))
		}
		then, running, vanished := now.Add(-time.Hour), now.Add(time.Minute), now.Add(-2*time.Hour)
		store("old", then.Add(-time.Microsecond), nil)
		store("vanished", then.Add(-time.Microsecond), &vanished)
		store("being sent", then.Add(-time.Microsecond), &running)
		store("not old enough", then, nil)
		owed := notification.NewOwed("owed", "invitation", nil, then.Add(-time.Microsecond), time.Time{})
		require.NoError(s, s.owe(owed))

		n, err := s.ledger.PurgeOlderThan(context.Background(), then)
		require.NoError(s, err)
		require.EqualValues(s, 2, n)
		for id, want := range map[string]notification.State{
			"old": "", "vanished": "", "being sent": notification.StateSending, "not old enough": notification.StateSending,
			"owed": notification.StateOwed,
		} {
			require.Equal(s, want, s.state(id), id)
		}
		n, err = s.ledger.PurgeOlderThan(context.Background(), then)
		require.NoError(s, err)
		require.Zero(s, n)
	})
}
