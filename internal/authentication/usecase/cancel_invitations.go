package usecase

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// cancelChunk is how many invitations are cancelled at a time.
const cancelChunk = 500

// Cancel withdraws what has not left yet of a batch and answers how many of its invitations are cancelled by now: their
// tokens die, and the addresses of those who have not registered meanwhile are free again. What has left, or is leaving
// just now, stays. A second time changes nothing, unless something that was leaving has come back.
//
// It answers ErrForbidden, ErrUnauthenticated or ErrBatchNotFound.
func (uc *Invitations) Cancel(ctx context.Context, actor authentication.Actor, batchID string) (int64, error) {
	if err := uc.authorize(ctx, actor); err != nil {
		return 0, err
	}
	var total int64
	var failed []authentication.TrackedItem
	err := uc.LongTx.WithinTx(ctx, func(ctx context.Context) error {
		now := uc.Clock.Now()
		batch, err := uc.Batches.Lock(ctx, batchID)
		if err != nil {
			return err
		}
		if failed, err = uc.withdraw(ctx, batchID, now); err != nil {
			return err
		}
		batch.Cancel(now)
		if err := uc.Batches.Save(ctx, batch); err != nil {
			return err
		}
		if err := uc.closeGap(ctx, now); err != nil {
			return err
		}
		total, err = uc.Invitations.Cancelled(ctx, batchID)
		return err
	})
	if err != nil {
		return 0, err
	}
	follow(ctx, func(ctx context.Context) error { return mark(ctx, uc.Progress, batchID, failed) })
	return total, nil
}

// withdraw answers the items that will never be sent.
func (uc *Invitations) withdraw(ctx context.Context, batchID string, now time.Time) ([]authentication.TrackedItem, error) {
	eventIDs, err := uc.Outbox.Withdraw(ctx, batchID)
	if err != nil {
		return nil, err
	}
	failed := make([]authentication.TrackedItem, 0, len(eventIDs))
	for chunk := range slices.Chunk(eventIDs, cancelChunk) {
		cancelled, err := uc.Invitations.Cancel(ctx, chunk, now)
		if err != nil {
			return nil, err
		}
		for _, c := range cancelled {
			failed = append(failed, authentication.TrackedItem{ID: c.EventID, Failed: true})
		}
	}
	return failed, uc.Users.Uninvite(ctx, batchID, now)
}

// closeGap lets the next batch begin behind the last mail that will still leave.
func (uc *Invitations) closeGap(ctx context.Context, now time.Time) error {
	next, err := uc.Pace.Lock(ctx, now)
	if err != nil {
		return err
	}
	last, err := uc.Batches.LastDue(ctx)
	if err != nil {
		return err
	}
	if free := last.Add(uc.spacing()); free.Before(next) {
		return uc.Pace.Save(ctx, free)
	}
	return nil
}

// mark counts any number of items.
func mark(ctx context.Context, progress authentication.ProgressTracker, batchID string, items []authentication.TrackedItem) error {
	for chunk := range slices.Chunk(items, authentication.MaxTrackedItems) {
		if err := progress.Mark(ctx, batchID, chunk); err != nil {
			return err
		}
	}
	return nil
}
