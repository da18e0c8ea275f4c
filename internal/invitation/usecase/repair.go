package usecase

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	// Failed is called each time a batch could not be repaired, or with an empty id when none could be claimed. again says
	// that the same has failed before, and not succeeded since. It must not block.
	Failed func(batchID string, again bool, err error)
}

// Repairer compares batches, which are the truth, with their projects, which follow, and repeats what is missing there.
// Any number of processes may run one.
type Repairer struct {
	deps   RepairerDeps
	mu     sync.Mutex
	failed map[string]bool // batches that could not be repaired; empty: none could be claimed
}

// NewRepairer returns a [Repairer].
func NewRepairer(d RepairerDeps) *Repairer { return &Repairer{deps: d, failed: map[string]bool{}} }

// Run repairs until ctx ends, and goes on after errors: the database or Redis may be unavailable.
func (r *Repairer) Run(ctx context.Context) error {
	tick := time.NewTicker(r.deps.Every)
	defer tick.Stop()
	for {
		_, _ = r.Repair(ctx) // Failed is called
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Repair claims a few open batches and returns how many of them it repaired. It opens a missing project again and counts
// in it what is known to have ended; it counts a project again that should be done by now. A batch that fails is
// reported, and waits until it is claimed again: the errors of all are returned together.
func (r *Repairer) Repair(ctx context.Context) (repaired int, err error) {
	batches, err := r.deps.Batches.ClaimOpen(ctx, r.deps.Clock.Now(), repairLease, repairLimit)
	failures := []error{r.report(ctx, "", err)}
	for _, b := range batches {
		counted, err := r.repair(ctx, b)
		failures = append(failures, r.report(ctx, b.ID, err))
		if counted {
			repaired++
		}
	}
	return repaired, errors.Join(failures...)
}

// repair reports whether the project of b had to be counted again, and was.
func (r *Repairer) repair(ctx context.Context, b invitation.Batch) (bool, error) {
	found, final, err := r.deps.Progress.State(ctx, b.ID)
	if err != nil {
		return false, fmt.Errorf("invitation: reading the project of batch %s: %w", b.ID, err)
	}
	if found && (final || !b.MarksDue(r.deps.Clock.Now())) {
		return false, nil
	}
	_, err = r.rebuild(ctx, b)
	return err == nil, err
}

// report passes err on, unless it is only that of a stop, and returns it.
func (r *Repairer) report(ctx context.Context, batchID string, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		delete(r.failed, batchID)
	case ctx.Err() == nil:
		r.deps.Failed(batchID, r.failed[batchID], err)
		r.failed[batchID] = true
	}
	return err
}
