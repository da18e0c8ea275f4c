package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/invitation"
)

// rebuildLife is how old the last mail of a batch may be for its project to be rebuilt: as long as progress lives.
const rebuildLife = 7 * 24 * time.Hour

// Rebuilt counts the work of [Repairer.Rebuild].
type Rebuilt struct {
	Batches int `json:"batches"`
	Items   int `json:"items"` // that have ended, those that had been counted before included
}

// Rebuild opens the projects of all batches that had mails to send in the last seven days, or still have, and counts
// what is known to have ended. It may run beside everything else. On an error it returns the counts so far; running it
// again is harmless.
func (r *Repairer) Rebuild(ctx context.Context) (Rebuilt, error) {
	var done Rebuilt
	since := r.deps.Clock.Now().Add(-rebuildLife)
	after := ""
	for {
		page, err := r.deps.Batches.DueSince(ctx, since, after, repairLimit)
		if err != nil || len(page) == 0 {
			return done, err
		}
		for _, b := range page {
			items, err := r.rebuild(ctx, b)
			done.Items += items
			if err != nil {
				return done, err
			}
			done.Batches++
			after = b.ID
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
