package sqldb_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

const day = 24 * time.Hour

func (f batchFlow) cancel(batch string) int64 {
	f.Helper()
	n, err := f.Cancel(context.Background(), f.actor, batch)
	require.NoError(f, err)
	return n
}

// leave lets the first n rows of a batch leave the outbox, as the relay does.
func (f batchFlow) leave(batch string, n int) []event.Event {
	f.Helper()
	events := f.sent(batch)[:n]
	for _, e := range events {
		f.exec("DELETE FROM outbox WHERE event_id = $1", e.ID)
	}
	return events
}

func TestCancelWithdrawsWhatHasNotLeft(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch, other := f.invite(people(1200)...), f.invite("other@example.com")
		left := f.leave(batch, 3)
		inHand := f.sent(batch)[3]
		f.exec("UPDATE outbox SET lease_until = $2 WHERE event_id = $1", inHand.ID, now.Add(time.Minute))
		require.Equal(f, int64(1196), f.cancel(batch))
		require.Equal(f, int64(1196), f.cancel(batch), "a second time changes nothing")
		require.Equal(f, 1, f.rows("outbox WHERE batch_id = $1", batch), "what a relay has in hand")
		require.Equal(f, 1, f.rows("outbox WHERE batch_id = $1", other))
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1196, 1196}, []int{done, failed})

		dead := f.sent(batch)[1199]
		_, err := f.Accept(context.Background(), token(dead), "correct horse")
		require.ErrorIs(f, err, authentication.ErrInvitationInvalid)
		for _, e := range append(slices.Clone(left), inHand) {
			_, err = f.Accept(context.Background(), token(e), "correct horse")
			require.NoError(f, err, "what has left is not taken back")
		}
		f.clock.now = now.Add(time.Hour)
		again := f.invite(dead.Data.(event.InvitationRequested).Recipient)
		_, err = f.Accept(context.Background(), token(f.sent(again)[0]), "correct horse")
		require.NoError(f, err, "the address was free again")

		for _, unknown := range []string{authentication.NewBatchID(), "x", "", "proj_\x00"} {
			_, err = f.Cancel(context.Background(), f.actor, unknown)
			require.ErrorIs(f, err, authentication.ErrBatchNotFound)
		}
	})
}

func TestWhatWasInHandAndCameBackIsCancelledToo(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(2)...)
		f.exec("UPDATE outbox SET lease_until = $2 WHERE event_id = $1", f.sent(batch)[0].ID, now.Add(time.Minute))
		require.Equal(f, int64(1), f.cancel(batch))
		f.clock.now = now.Add(2 * time.Minute)
		require.Equal(f, int64(2), f.cancel(batch))
	})
}

// The broker had it and the relay does not know: its row is there again when somebody accepts what was in it.
func TestCancelLeavesThoseAloneWhoHaveAccepted(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(2)...)
		_, err := f.Accept(context.Background(), token(f.sent(batch)[0]), "correct horse")
		require.NoError(f, err)
		require.Equal(f, int64(1), f.cancel(batch))
		require.Zero(f, f.rows("outbox"))
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1, 1}, []int{done, failed}, "what has arrived has not failed")
	})
}

// Somebody who has registered by himself meanwhile loses the invitation and nothing else.
func TestCancelLeavesThoseAloneWhoHaveRegistered(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite("an@example.com", "binh@example.com")
		require.NoError(f, f.accounts.Register(context.Background(),
			authentication.Credentials{Email: "an@example.com", Password: "correct horse"}, "en"))
		require.Equal(f, int64(2), f.cancel(batch))
		_, err := f.users.ByEmail(context.Background(), "an@example.com")
		require.NoError(f, err)
		_, err = f.users.ByEmail(context.Background(), "binh@example.com")
		require.ErrorIs(f, err, authentication.ErrUserNotFound)
	})
}

func TestCancelGivesTheTimeBack(t *testing.T) {
	t.Parallel()
	const gap = time.Second / perSecond
	eachBatchFlow(t, func(f batchFlow) {
		f.invite("first@example.com")
		batch := f.invite(people(1000)...)
		f.cancel(batch)
		next := f.sent(f.invite("next@example.com"))[0]
		require.Equal(f, now.Add(gap), next.NotBefore, "behind the first, as if the others had never been")

		middle := f.invite(people(100)...)
		last := f.sent(f.invite("last@example.com"))[0]
		f.cancel(middle)
		require.Equal(f, last.NotBefore.Add(gap), f.sent(f.invite("behind@example.com"))[0].NotBefore,
			"what is scheduled behind a batch stays where it is")
	})
}

func TestCancelAndAcceptAtTheSameTime(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(60)...)
		accepted := make(chan int, 1)
		go func() {
			n := 0
			for _, e := range f.sent(batch) {
				if _, err := f.Accept(context.Background(), token(e), "correct horse"); err == nil {
					n++
				} else if !errors.Is(err, authentication.ErrInvitationInvalid) {
					n = -1000
				}
			}
			accepted <- n
		}()
		cancelled, err := f.Cancel(context.Background(), f.actor, batch)
		require.NoError(f, err)
		n := <-accepted
		require.Equal(f, 60, int(cancelled)+n, "each is one or the other")
		require.Equal(f, n, f.trials.started)
		require.Equal(f, n+1, f.rows("users WHERE deleted_at IS NULL"), "with the administrator")
		require.Zero(f, f.rows("invitations WHERE accepted_at IS NOT NULL AND cancelled_at IS NOT NULL"))
	})
}

func TestProgressFollowsTheCommitEvenIfRedisWasAway(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		f.progress.away = errors.New("Redis is away")
		batch := f.invite(people(1500)...)
		f.clock.now = now.Add(time.Minute)
		_, err := f.repair.RepairBatches(context.Background())
		require.ErrorIs(f, err, f.progress.away)

		f.progress.away = nil
		for i, e := range f.leave(batch, 1300) { // their marks have found no project
			f.mails[e.ID] = i%13 != 0
		}
		n, err := f.repair.RepairBatches(context.Background())
		require.NoError(f, err)
		require.Zero(f, n, "somebody has just looked")
		f.clock.now = f.clock.now.Add(15 * time.Second)
		n, err = f.repair.RepairBatches(context.Background())
		require.NoError(f, err)
		require.Equal(f, 1, n)
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1300, 100}, []int{done, failed})
		require.Equal(f, int64(1500), f.progress.totals[batch])
	})
}

func TestMarksThatWereLostAreRepeatedOnceAllHasLeft(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(40)...) // two seconds
		for _, e := range f.leave(batch, 40) {
			f.mails[e.ID] = true
		}
		look := func(at time.Duration) int {
			f.clock.now = now.Add(at)
			n, err := f.repair.RepairBatches(context.Background())
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
	})
}

func TestMarksOfACancelledBatchAreRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(3)...)
		accepted := f.leave(batch, 1)[0]
		f.progress.away = errors.New("Redis is away")
		require.Equal(f, int64(2), f.cancel(batch))
		_, err := f.Accept(context.Background(), token(accepted), "correct horse")
		require.NoError(f, err)
		f.progress.away = nil
		f.clock.now = now.Add(15 * time.Second)
		n, err := f.repair.RepairBatches(context.Background())
		require.NoError(f, err)
		require.Equal(f, 1, n)
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{3, 2}, []int{done, failed}, "one that was accepted has arrived, whatever the ledger knows")
	})
}

func TestRepairersShareTheWork(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		f.progress.away = errors.New("Redis is away")
		for i := range 25 {
			f.invite(people(i + 1)[i])
		}
		f.progress.away = nil
		f.clock.now = now.Add(time.Minute)
		repaired := make(chan int, 3)
		for range cap(repaired) {
			go func() {
				n, err := f.repair.RepairBatches(context.Background())
				if err != nil {
					n = -1000
				}
				repaired <- n
			}()
		}
		require.Equal(f, 25, <-repaired+<-repaired+<-repaired, "ten at most each, none twice")
		require.Len(f, f.progress.totals, 25)
	})
}

func TestRebuildBatches(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
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
		done, err := f.repair.RebuildBatches(context.Background())
		require.NoError(f, err)
		require.Equal(f, usecase.RebuiltBatches{Batches: 12, Items: 1}, done)
		require.NotContains(f, f.progress.totals, old)
		counted, _ := f.progress.counts(all[0])
		require.Equal(f, 1, counted, "completed ones as well")
	})
}

// complete announces a batch's project, as the project domain does.
func (f batchFlow) complete(id string) error {
	return f.within(func(ctx context.Context) error {
		return f.closer.ProjectCompleted(ctx, usecase.CompletedProject{
			ProjectID: id, Total: 3, Done: 3, Errors: 1, CompletedAt: f.clock.now,
		})
	})
}

func TestTheAdministratorIsToldOnce(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite("an@example.com", "binh@example.com", "chi@example.com")
		f.clock.now = now.Add(time.Minute)
		f.exec("UPDATE users SET username = 'moved@example.com' WHERE id = $1", f.admin.ID)
		refused := errors.New("refused")
		require.ErrorIs(f, f.within(func(ctx context.Context) error {
			require.NoError(f, f.closer.ProjectCompleted(ctx, usecase.CompletedProject{ProjectID: batch, CompletedAt: f.clock.now}))
			return refused
		}), refused)
		require.Zero(f, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)), "all of it or nothing")

		require.NoError(f, f.complete(batch))
		require.NoError(f, f.complete(batch), "a second time")
		require.NoError(f, f.complete(authentication.NewBatchID()), "somebody else's project")
		require.NoError(f, f.complete("any id \U0001F600"))
		require.Equal(f, 1, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)))
		all := f.events.Events()
		told := all[len(all)-1]
		require.Equal(f, event.Event{
			ID: told.ID, Key: event.EmailProjectCompletedRequested, Time: f.clock.now, ProjectID: batch,
			Data: event.ProjectCompletedMail{
				Recipient: "moved@example.com", Locale: "vi", ProjectID: batch, Total: 3, Done: 3, Errors: 1,
			},
		}, told)
		require.Equal(f, 1, f.rows("invitation_batches WHERE completed_at = $1", f.clock.now))

		orphan := f.invite("dung@example.com")
		f.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", f.admin.ID, now)
		require.NoError(f, f.complete(orphan), "nobody is left to be told")
		require.Equal(f, 1, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)))
	})
}

func TestPurgeExpired(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(append(people(1100), "accepted@example.com", "registered@example.com")...)
		events := f.sent(batch)
		_, err := f.Accept(context.Background(), token(events[1100]), "correct horse")
		require.NoError(f, err)
		require.NoError(f, f.accounts.Register(context.Background(),
			authentication.Credentials{Email: "registered@example.com", Password: "correct horse"}, "en"))

		purge := func(at time.Time) int64 {
			n, err := f.invitations.PurgeExpired(context.Background(), at)
			require.NoError(f, err)
			return n
		}
		require.Zero(f, purge(now.Add(7*day-time.Microsecond)))
		require.Equal(f, int64(1), purge(now.Add(7*day)), "the first expires first")
		require.Equal(f, int64(1099), purge(now.Add(8*day)))
		require.Zero(f, purge(now.Add(8*day)))
		require.Equal(f, 3, f.rows("users WHERE deleted_at IS NULL"), "the administrator and who has a password")
		f.clock.now = now.Add(8 * day)
		f.invite(people(1)...)
		f.exec("UPDATE users SET deleted_at = $1 WHERE username = 'accepted@example.com'", f.clock.now)

		n, err := f.batches.PurgeOlderThan(context.Background(), now.Add(7*day))
		require.NoError(f, err)
		require.Equal(f, int64(1), n)
		require.Equal(f, 1, f.rows("invitations"))
		require.Equal(f, 4, f.rows("users"), "people stay, deleted ones as well; of those who never came nothing does")
	})
}

func TestRepositoriesOfInvitationsNeedATransactionToWrite(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		ctx, pace := context.Background(), f.Pace
		_, err := f.batches.Create(ctx, authentication.Batch{})
		require.Error(f, err)
		for name, err := range map[string]error{
			"Batches.Save": f.batches.Save(ctx, authentication.Batch{}), "SaveReport": f.batches.SaveReport(ctx, "", 0, nil),
			"Create": f.invitations.Create(ctx, nil), "Save": f.invitations.Save(ctx, authentication.Invitation{}),
			"Pace.Save": pace.Save(ctx, now),
		} {
			require.ErrorContains(f, err, "WithinTx", name)
		}
		_, err = f.batches.Lock(ctx, authentication.NewBatchID())
		require.ErrorContains(f, err, "WithinTx")
		_, err = f.invitations.LockByDigest(ctx, nil)
		require.ErrorContains(f, err, "WithinTx")
		_, err = f.invitations.Cancel(ctx, []string{"x"}, now)
		require.ErrorContains(f, err, "WithinTx")
		_, err = pace.Lock(ctx, now)
		require.ErrorContains(f, err, "WithinTx")
		_, err = f.users.Invite(ctx, nil)
		require.ErrorContains(f, err, "WithinTx")
		_, err = f.users.LockByID(ctx, f.admin.ID)
		require.ErrorContains(f, err, "WithinTx")
	})
}

func TestInvitationsAreReadAsTheyWereStored(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite(people(5)...)
		f.bothWays(func(ctx context.Context) {
			first, err := f.invitations.Page(ctx, batch, "", 3)
			require.NoError(f, err)
			rest, err := f.invitations.Page(ctx, batch, first[2].ID, 3)
			require.NoError(f, err)
			all := append(slices.Clone(first), rest...)
			require.Len(f, all, 5)
			for n, e := range f.sent(batch) {
				i, err := f.invitations.ByEvent(ctx, e.ID)
				require.NoError(f, err)
				require.Equal(f, i, all[n])
				byDigest, err := f.invitations.ByDigest(ctx, i.Digest)
				require.NoError(f, err)
				require.Equal(f, i, byDigest)
				require.Equal(f, e.NotBefore.Add(7*day), i.ExpiresAt)
				require.Equal(f, now, i.CreatedAt)
				require.Len(f, i.Digest, 32)
			}
			_, err = f.invitations.ByEvent(ctx, "evt_"+uuid.NewString())
			require.ErrorIs(f, err, authentication.ErrInvitationNotFound)
			_, err = f.invitations.ByDigest(ctx, []byte{1})
			require.ErrorIs(f, err, authentication.ErrInvitationNotFound)
			_, err = f.batches.ByKey(ctx, "x", "key")
			require.ErrorIs(f, err, authentication.ErrBatchNotFound)
		})
		require.NoError(f, f.within(func(ctx context.Context) error {
			_, err := f.users.LockByID(ctx, uuid.NewString())
			require.ErrorIs(f, err, authentication.ErrUserNotFound)
			_, err = f.users.LockByID(ctx, "x")
			require.ErrorIs(f, err, authentication.ErrUserNotFound)
			u, err := f.users.LockByID(ctx, f.admin.ID)
			require.Equal(f, f.admin, u)
			return err
		}))
	})
}
