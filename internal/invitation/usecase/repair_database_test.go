package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation/usecase"
)

func TestRepairOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("makes up for an outage of Redis", onDatabase(func(f flow) {
		f.progress.outage = errors.New("redis is unavailable")
		batch := f.invite(people(1500)...)
		f.clock.now = now.Add(time.Minute)
		_, err := f.repair.Repair(context.Background())
		require.ErrorIs(f, err, f.progress.outage)

		f.progress.outage = nil
		for i, e := range f.leave(batch, 1300) { // their marks have found no project
			f.mails[e.ID] = i%13 != 0
		}
		n, err := f.repair.Repair(context.Background())
		require.NoError(f, err)
		require.Zero(f, n, "it was claimed a moment ago")
		f.clock.now = f.clock.now.Add(15 * time.Second)
		n, err = f.repair.Repair(context.Background())
		require.NoError(f, err)
		require.Equal(f, 1, n)
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1300, 100}, []int{done, failed})
		require.Equal(f, int64(1500), f.progress.totals[batch])
	}))

	t.Run("repeats lost marks once all mails have left", onDatabase(func(f flow) {
		batch := f.invite(people(40)...) // two seconds
		for _, e := range f.leave(batch, 40) {
			f.mails[e.ID] = true
		}
		look := func(at time.Duration) int {
			f.clock.now = now.Add(at)
			n, err := f.repair.Repair(context.Background())
			require.NoError(f, err)
			return n
		}
		require.Zero(f, look(2*time.Minute), "the consumer may still be at it")
		delete(f.mails, f.sent(batch)[0].ID) // one is still being tried
		require.Equal(f, 1, look(2*time.Minute+15*time.Second))
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{39, 0}, []int{done, failed})
		require.Zero(f, look(4*time.Minute), "not so soon again")
		f.mails[f.sent(batch)[0].ID] = false
		require.Equal(f, 1, look(4*time.Minute+30*time.Second))
		done, failed = f.progress.counts(batch)
		require.Equal(f, []int{40, 1}, []int{done, failed})
		require.Zero(f, look(time.Hour), "it is done")
	}))

	t.Run("repeats lost marks of a cancelled batch at once", onDatabase(func(f flow) {
		batch := f.invite(people(3)...)
		accepted := f.leave(batch, 1)[0]
		f.progress.outage = errors.New("redis is unavailable")
		require.Equal(f, int64(2), f.cancel(batch))
		_, err := f.Accept(context.Background(), token(accepted), "correct horse", client)
		require.NoError(f, err)
		f.progress.outage = nil
		f.clock.now = now.Add(15 * time.Second)
		n, err := f.repair.Repair(context.Background())
		require.NoError(f, err)
		require.Equal(f, 1, n)
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{3, 2}, []int{done, failed}, "one that was accepted has arrived, whatever the ledger knows")
	}))

	t.Run("is shared by processes", onDatabase(func(f flow) {
		f.progress.outage = errors.New("redis is unavailable")
		for i := range 25 {
			f.invite(people(i + 1)[i])
		}
		f.progress.outage = nil
		f.clock.now = now.Add(time.Minute)
		repaired := make(chan int, 3)
		for range cap(repaired) {
			go func() {
				n, err := f.repair.Repair(context.Background())
				if err != nil {
					n = -1000
				}
				repaired <- n
			}()
		}
		require.Equal(f, 25, <-repaired+<-repaired+<-repaired, "ten at most each, none twice")
		require.Len(f, f.progress.totals, 25)
	}))
}

func TestRebuildOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("rebuilds the last week", onDatabase(func(f flow) {
		old := f.invite("old@example.com")
		f.clock.now = now.Add(8 * day)
		var all []string
		for i := range 12 {
			all = append(all, f.invite(people(i + 1)[i]))
		}
		for _, e := range f.leave(all[0], 1) {
			f.mails[e.ID] = true
		}
		require.NoError(f, f.complete(all[0]))
		f.progress.totals, f.progress.failed = map[string]int64{}, map[string]map[string]bool{} // Redis has lost everything
		done, err := f.repair.Rebuild(context.Background())
		require.NoError(f, err)
		require.Equal(f, usecase.Rebuilt{Batches: 12, Items: 1}, done)
		require.NotContains(f, f.progress.totals, old)
		counted, _ := f.progress.counts(all[0])
		require.Equal(f, 1, counted, "completed ones as well")
	}))
}
