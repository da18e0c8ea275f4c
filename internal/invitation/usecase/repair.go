package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/invitation"
)

const (
	repairLease = 10 * time.Second // no process claims a batch again that soon
	repairLimit = 10               // batches per claim
)

// RepairerDeps are the dependencies of a [Repairer]. All are required.
type RepairerDeps struct {
	Batches     invitation.OpenBatchRepository
	Invitations invitation.Pager
	Mails       invitation.MailLedger
	Progress    invitation.Progress
	Clock       invitation.Clock

	Every time.Duration // between two calls of Repair
	// Failed is called with the first error of an outage. It must not block.
	Failed func(error)
}

// Repairer compares batches, which are the truth, with their projects, which follow, and repeats what is missing there.
// Any number of processes may run one.
type Repairer struct{ deps RepairerDeps }

// NewRepairer returns a [Repairer].
func NewRepairer(d RepairerDeps) *Repairer { return &Repairer{deps: d} }

// Run repairs until ctx ends, and goes on after errors: the database or Redis may be unavailable.
func (r *Repairer) Run(ctx context.Context) error {
	tick := time.NewTicker(r.deps.Every)
	defer tick.Stop()
	failing := false
	for {
		_, err := r.Repair(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			r.deps.Failed(err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Repair claims a few open batches and returns how many of them it repaired. It opens a missing project again and counts
// in it what is known to have ended; it counts a project again that should be done by now. After an error the rest waits
// for the next call.
func (r *Repairer) Repair(ctx context.Context) (repaired int, err error) {
	batches, err := r.deps.Batches.ClaimOpen(ctx, r.deps.Clock.Now(), repairLease, repairLimit)
	if err != nil {
		return 0, err
	}
	for _, b := range batches {
		found, final, err := r.deps.Progress.State(ctx, b.ID)
		if err != nil {
			return repaired, fmt.Errorf("invitation: reading the project of batch %s: %w", b.ID, err)
		}
		if found && (final || !b.MarksDue(r.deps.Clock.Now())) {
			continue
		}
		if _, err := r.rebuild(ctx, b); err != nil {
			return repaired, err
		}
		repaired++
	}
	return repaired, nil
}
