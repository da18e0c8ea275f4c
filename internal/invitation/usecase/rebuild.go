package usecase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/invitation"
)

// rebuildLife is how old the last mail of a batch may be for its project to be rebuilt: as long as progress lives.
const rebuildLife = 7 * 24 * time.Hour

// Rebuilt counts the work of [Repairer.Rebuild].
type Rebuilt struct {
	Batches int `json:"batches"`
	Items   int `json:"items"`  // that have ended, those that had been counted before included
	Failed  int `json:"failed"` // batches that were passed over
}

// rebuildPatience is how many batches in a row may fail before the rest is not tried: what they need is unavailable.
const rebuildPatience = 100

// Rebuild opens the projects of all batches that had mails to send in the last seven days, or still have, and counts
// what is known to have ended. It may run beside everything else. A batch that fails is passed over: the errors of all
// are returned together, each with the batch's id, beside the counts. Running it again is harmless.
func (r *Repairer) Rebuild(ctx context.Context) (done Rebuilt, err error) {
	var failed []error
	defer func() { err = errors.Join(append(failed, err)...) }()
	since := r.deps.Clock.Now().Add(-rebuildLife)
	after, inRow := "", 0
	for {
		page, err := r.deps.Batches.DueSince(ctx, since, after, repairLimit)
		if err != nil || len(page) == 0 {
			return done, err
		}
		for _, b := range page {
			after = b.ID
			items, err := r.rebuild(ctx, b)
			done.Items += items
			if err == nil {
				done.Batches++
				inRow = 0
				continue
			}
			failed = append(failed, err)
			done.Failed++
			if inRow++; inRow == rebuildPatience || ctx.Err() != nil {
				return done, errors.New("invitation: the batches after these were not tried")
			}
		}
	}
}

// rebuild opens the project of b and returns how many items it counted there.
func (r *Repairer) rebuild(ctx context.Context, b invitation.Batch) (items int, err error) {
	now := r.deps.Clock.Now()
	if err := r.deps.Progress.Open(ctx, b.ID, b.AdminID, b.Total); err != nil {
		return 0, fmt.Errorf("invitation: opening the project of batch %s: %w", b.ID, err)
	}
	err = eachPage(func(after string) ([]invitation.Invitation, error) {
		return r.deps.Invitations.Page(ctx, b.ID, after, invitation.MaxItems)
	}, func(page []invitation.Invitation) error {
		ended, err := r.ended(ctx, page)
		if err != nil || len(ended) == 0 {
			return err
		}
		if err := r.deps.Progress.Mark(ctx, b.ID, ended); err != nil {
			return err
		}
		items += len(ended)
		return nil
	})
	if err != nil {
		return items, fmt.Errorf("invitation: counting in the project of batch %s: %w", b.ID, err)
	}
	return items, r.deps.Batches.Marked(ctx, b.ID, now)
}

// ended returns the items of a page whose mails are known to need no more work.
func (r *Repairer) ended(ctx context.Context, page []invitation.Invitation) ([]invitation.Item, error) {
	ids := make([]string, len(page))
	for n, i := range page {
		ids[n] = i.EventID
	}
	outcomes, err := r.deps.Mails.Outcomes(ctx, ids)
	if err != nil {
		return nil, err
	}
	var items []invitation.Item
	for _, i := range page {
		sent, known := outcomes[i.EventID]
		if ended, failed := i.Ended(sent, known); ended {
			items = append(items, invitation.Item{ID: i.EventID, Failed: failed})
		}
	}
	return items, nil
}
