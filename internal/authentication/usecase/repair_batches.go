package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// How the Repairer goes about it.
const (
	repairEvery = 15 * time.Second
	repairLease = 10 * time.Second // a batch is not looked at again that soon, by whatever process
	repairLimit = 10               // batches per look
	repairPage  = authentication.MaxTrackedItems
	// rebuildLife is how old the last mail of a batch may be for its project to be rebuilt: as long as progress lives.
	rebuildLife = 7 * 24 * time.Hour
)

// RepairDeps are what a Repairer needs. All but Every and Failed are required.
type RepairDeps struct {
	Batches     authentication.BatchRepository
	Invitations authentication.InvitationRepository
	Mails       authentication.MailOutcomes
	Progress    authentication.ProgressTracker
	Clock       authentication.Clock

	Every  time.Duration // [15 s] between two looks
	Failed func(error)   // [none] is told of a look that failed, once until one succeeds again; must not block
}

// Repairer compares batches, which are the truth, with their projects, which follow, and repeats what is missing there.
// Any number of processes may run one.
type Repairer struct{ RepairDeps }

// NewRepairer panics when a dependency is missing.
func NewRepairer(d RepairDeps) *Repairer {
	if d.Batches == nil || d.Invitations == nil || d.Mails == nil || d.Progress == nil || d.Clock == nil {
		panic("authentication/usecase: NewRepairer needs Batches, Invitations, Mails, Progress and a Clock")
	}
	if d.Every == 0 {
		d.Every = repairEvery
	}
	if d.Failed == nil {
		d.Failed = func(error) {}
	}
	return &Repairer{d}
}

// Run repairs until ctx ends, and goes on after errors: the database or Redis may be away.
func (r *Repairer) Run(ctx context.Context) error {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	failing := false
	for {
		_, err := r.RepairBatches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			r.Failed(err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// RepairBatches looks at a few open batches and answers how many of them it has repaired. A project that is missing is
// opened again, and what is known to have ended is counted in it; one that should be done by now is counted again. After
// an error the rest is left for the next look.
func (r *Repairer) RepairBatches(ctx context.Context) (repaired int, err error) {
	batches, err := r.Batches.TakeOpen(ctx, r.Clock.Now(), repairLease, repairLimit)
	if err != nil {
		return 0, err
	}
	for _, b := range batches {
		found, final, err := r.Progress.State(ctx, b.ID)
		if err != nil {
			return repaired, fmt.Errorf("authentication: looking at the project of batch %s: %w", b.ID, err)
		}
		if found && (final || !b.MarksDue(r.Clock.Now())) {
			continue
		}
		if _, err := r.rebuild(ctx, b); err != nil {
			return repaired, err
		}
		repaired++
	}
	return repaired, nil
}

// RebuiltBatches counts what RebuildBatches has done.
type RebuiltBatches struct {
	Batches int `json:"batches"`
	Items   int `json:"items"` // that have ended, and were counted; those that had been already included
}

// RebuildBatches opens the projects of all batches that had mails to send in the last seven days, or still have, and
// counts what is known to have ended. It may run beside everything else. On an error it answers the counts so far; running
// it again is harmless.
func (r *Repairer) RebuildBatches(ctx context.Context) (RebuiltBatches, error) {
	var done RebuiltBatches
	since, after := r.Clock.Now().Add(-rebuildLife), ""
	for {
		page, err := r.Batches.DueSince(ctx, since, after, repairLimit)
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

// rebuild answers how many items it has counted.
func (r *Repairer) rebuild(ctx context.Context, b authentication.Batch) (items int, err error) {
	now := r.Clock.Now()
	if err := r.Progress.Open(ctx, b.ID, b.AdminID, b.Total); err != nil {
		return 0, fmt.Errorf("authentication: opening the project of batch %s: %w", b.ID, err)
	}
	after := ""
	for {
		page, err := r.Invitations.Page(ctx, b.ID, after, repairPage)
		if err != nil {
			return items, err
		}
		if len(page) == 0 {
			return items, r.Batches.Marked(ctx, b.ID, now)
		}
		after = page[len(page)-1].ID
		ended, err := r.ended(ctx, page)
		if err != nil {
			return items, err
		}
		if len(ended) == 0 {
			continue
		}
		if err := r.Progress.Mark(ctx, b.ID, ended); err != nil {
			return items, fmt.Errorf("authentication: counting in the project of batch %s: %w", b.ID, err)
		}
		items += len(ended)
	}
}

// ended answers those of a page whose mail's work is known to be over.
func (r *Repairer) ended(ctx context.Context, page []authentication.Invitation) ([]authentication.TrackedItem, error) {
	ids := make([]string, len(page))
	for n, i := range page {
		ids[n] = i.EventID
	}
	outcomes, err := r.Mails.Outcomes(ctx, ids)
	if err != nil {
		return nil, err
	}
	var items []authentication.TrackedItem
	for _, i := range page {
		sent, known := outcomes[i.EventID]
		if ended, failed := i.Ended(sent, known); ended {
			items = append(items, authentication.TrackedItem{ID: i.EventID, Failed: failed})
		}
	}
	return items, nil
}
