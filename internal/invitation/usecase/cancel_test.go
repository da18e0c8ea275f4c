package usecase_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func TestCancel(t *testing.T) {
	t.Parallel()

	t.Run("takes its locks in order and counts behind the commit", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		last, next := now.Add(time.Second), now.Add(time.Minute)
		batch := invitation.Batch{ID: batchID, Total: 3, LastDueAt: next}
		withdrawn := batch
		withdrawn.Cancel(now)
		gone := newInvitation(cancelled)
		gomock.InOrder(
			f.batches.EXPECT().Lock(inside, batchID).Return(batch, nil),
			f.pace.EXPECT().Lock(inside, now).Return(next, nil),
			f.outbox.EXPECT().Withdraw(inside, batchID, now).Return([]string{"evt_1", "evt_2"}, nil),
			f.invitations.EXPECT().Cancel(inside, []string{"evt_1", "evt_2"}, now).Return([]invitation.Invitation{gone}, nil),
			f.accounts.EXPECT().DeleteInvited(inside, []string{userID}, now),
			f.batches.EXPECT().Save(inside, withdrawn),
			f.pace.EXPECT().LastDue(inside).Return(last, nil),
			f.pace.EXPECT().Save(inside, last.Add(gap)),
			f.invitations.EXPECT().CountCancelled(inside, batchID).Return(int64(7), nil),
			f.progress.EXPECT().Mark(outside, batchID, []invitation.Item{{ID: "evt_1", Failed: true}}).Return(errBroken),
		)
		n, err := f.Cancel(context.Background(), actor, batchID)
		require.NoError(t, err, "an item that is not counted is repaired")
		require.Equal(t, int64(7), n)
		f.longTx.requireTx(t, 1, 0)
	})

	t.Run("goes in chunks", func(t *testing.T) {
		t.Parallel()
		const total = invitation.MaxItems + 1
		f := newFixture(t)
		events := make([]string, total)
		for n := range events {
			events[n] = fmt.Sprint(n)
		}
		f.batches.EXPECT().Lock(inside, batchID).Return(invitation.Batch{ID: batchID}, nil)
		f.pace.EXPECT().Lock(inside, now).Return(now, nil)
		f.outbox.EXPECT().Withdraw(inside, batchID, now).Return(events, nil)
		f.invitations.EXPECT().Cancel(inside, gomock.Any(), now).DoAndReturn(
			func(_ context.Context, ids []string, _ time.Time) (all []invitation.Invitation, _ error) {
				for _, id := range ids {
					all = append(all, invitation.Invitation{EventID: id, UserID: "user " + id})
				}
				return all, nil
			}).Times(3)
		deleted := 0
		f.accounts.EXPECT().DeleteInvited(inside, gomock.Any(), now).DoAndReturn(
			func(_ context.Context, ids []string, _ time.Time) (int64, error) {
				require.LessOrEqual(t, len(ids), invitation.AccountChunk)
				deleted += len(ids)
				return int64(len(ids)), nil
			}).Times(3)
		f.batches.EXPECT().Save(inside, gomock.Any())
		f.pace.EXPECT().LastDue(inside).Return(now, nil)
		f.invitations.EXPECT().CountCancelled(inside, batchID).Return(int64(total), nil)
		f.progress.EXPECT().Mark(outside, batchID, gomock.Len(invitation.MaxItems))
		f.progress.EXPECT().Mark(outside, batchID, gomock.Len(1))
		_, err := f.Cancel(context.Background(), actor, batchID)
		require.NoError(t, err)
		require.Equal(t, total, deleted)
	})

	t.Run("deletes no account and counts nothing when nothing was withdrawn", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.batches.EXPECT().Lock(inside, batchID).Return(invitation.Batch{ID: batchID}, nil)
		f.pace.EXPECT().Lock(inside, now).Return(now, nil)
		f.outbox.EXPECT().Withdraw(inside, batchID, now).Return([]string{"evt_1"}, nil)
		f.invitations.EXPECT().Cancel(inside, []string{"evt_1"}, now)
		f.batches.EXPECT().Save(inside, gomock.Any())
		f.pace.EXPECT().LastDue(inside).Return(now, nil)
		f.invitations.EXPECT().CountCancelled(inside, batchID)
		_, err := f.Cancel(context.Background(), actor, batchID)
		require.NoError(t, err)
	})

	t.Run("refuses a batch that does not exist before it waits for the pace", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.batches.EXPECT().Lock(inside, batchID).Return(invitation.Batch{}, invitation.ErrBatchNotFound)
		_, err := f.Cancel(context.Background(), actor, batchID)
		require.ErrorIs(t, err, invitation.ErrBatchNotFound)
		f.longTx.requireTx(t, 0, 1)
	})

	t.Run("counts nothing when it fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.batches.EXPECT().Lock(inside, batchID).Return(invitation.Batch{ID: batchID}, nil)
		f.pace.EXPECT().Lock(inside, now).Return(now, nil)
		f.outbox.EXPECT().Withdraw(inside, batchID, now).Return([]string{"evt_1"}, nil)
		f.invitations.EXPECT().Cancel(inside, gomock.Any(), now).Return([]invitation.Invitation{newInvitation(cancelled)}, nil)
		f.accounts.EXPECT().DeleteInvited(inside, gomock.Any(), now).Return(int64(0), errBroken)
		_, err := f.Cancel(context.Background(), actor, batchID)
		require.ErrorIs(t, err, errBroken)
		f.longTx.requireTx(t, 0, 1)
	})
}
