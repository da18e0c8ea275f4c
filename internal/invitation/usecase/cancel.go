package usecase

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/invitation"
)

// Cancel withdraws what has not left yet of a batch and returns how many of its invitations are cancelled by now: their
// tokens are dead, and the addresses of accounts that were never used are free again. What has left, or is leaving right
// now, stays. A second call changes nothing, unless something that was leaving has come back.
//
// It returns ErrForbidden or ErrBatchNotFound.
func (uc *UseCase) Cancel(ctx context.Context, actor invitation.Actor, batchID string) (int64, error) {
	if err := authorize(actor); err != nil {
		return 0, err
	}
	var total int64
	var failed []invitation.Item
	err := uc.deps.LongTx.WithinTxRetry(ctx, func(ctx context.Context) error {
		now := uc.deps.Clock.Now()
		batch, err := uc.deps.Batches.Lock(ctx, batchID)
		if err != nil {
			return err
		}
		// Before the accounts: an upload that waits for one of them holds this lock.
		next, err := uc.deps.Pace.Lock(ctx, now)
		if err != nil {
			return err
		}
		if failed, err = uc.withdraw(ctx, batchID, now); err != nil {
			return err
		}
		batch.Cancel(now)
		if err := uc.deps.Batches.Save(ctx, batch); err != nil {
			return err
		}
		if err := uc.closeGap(ctx, next); err != nil {
			return err
		}
		if total, err = uc.deps.Invitations.CountCancelled(ctx, batchID); err != nil {
			return err
		}
		return uc.record(ctx, audit.InvitationsCancelled, actor, batchID)
	})
	if err != nil {
		return 0, err
	}
	updateProgress(ctx, func(ctx context.Context) error {
		for items := range slices.Chunk(failed, invitation.MaxItems) {
			if err := uc.deps.Progress.Mark(ctx, batchID, items); err != nil {
				return err
			}
		}
		return nil
	})
	return total, nil
}

// record writes what an administrator does to a batch.
func (uc *UseCase) record(ctx context.Context, action audit.Action, actor invitation.Actor, batchID string) error {
	return uc.deps.Audit.Record(ctx, audit.Entry{Action: action, ActorID: actor.UserID, SubjectID: batchID})
}

// withdraw returns the items that will never be sent.
func (uc *UseCase) withdraw(ctx context.Context, batchID string, now time.Time) ([]invitation.Item, error) {
	eventIDs, err := uc.deps.Outbox.Withdraw(ctx, batchID, now)
	if err != nil {
		return nil, err
	}
	failed := make([]invitation.Item, 0, len(eventIDs))
	for chunk := range slices.Chunk(eventIDs, invitation.AccountChunk) {
		cancelled, err := uc.deps.Invitations.Cancel(ctx, chunk, now)
		if err != nil {
			return nil, err
		}
		if len(cancelled) == 0 {
			continue
		}
		for _, i := range cancelled {
			failed = append(failed, invitation.Item{ID: i.EventID, Failed: true})
		}
		if _, err := uc.deps.Accounts.DeleteInvited(ctx, userIDs(cancelled), now); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

func userIDs(invitations []invitation.Invitation) []string {
	ids := make([]string, len(invitations))
	for n, i := range invitations {
		ids[n] = i.UserID
	}
	return ids
}

// closeGap lets the next batch begin behind the last mail that will still leave. next is when it would begin otherwise.
func (uc *UseCase) closeGap(ctx context.Context, next time.Time) error {
	last, err := uc.deps.Pace.LastDue(ctx)
	if err != nil {
		return err
	}
	if free := last.Add(uc.spacing()); free.Before(next) {
		return uc.deps.Pace.Save(ctx, free)
	}
	return nil
}
