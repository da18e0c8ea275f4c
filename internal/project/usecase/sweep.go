package usecase

import (
	"context"
	"time"
)

const (
	sweepEvery = 5 * time.Second
	sweepLimit = 100             // projects per sweep
	sweepIdle  = 5 * time.Second // a project touched more recently is still being worked on
)

// Sweeper completes the projects that were left open: another service wrote the total after the last item, a reply was
// lost, or a process died before it stored job.completed. Any number may run, in any number of processes.
type Sweeper struct {
	deps    Deps
	failing bool // the last sweep failed
}

// NewSweeper returns a Sweeper on d.
func NewSweeper(d Deps) *Sweeper { return &Sweeper{deps: d} }

// Run sweeps every 5 s until ctx ends and returns nil. It notifies the observer of the start and the end of an outage.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := s.Sweep(ctx)
			if ctx.Err() == nil && (err != nil) != s.failing {
				s.failing = err != nil
				s.deps.Observer.SweepHealth(err)
			}
		}
	}
}

// Sweep checks up to 100 open projects, least recently touched first, and stops at the first error: the database or
// Redis would fail for the others too. A project that is itself at fault holds nothing up, because the check touches it
// and so moves it to the end.
func (s *Sweeper) Sweep(ctx context.Context) error {
	ids, err := s.deps.Open.ListOpen(ctx, sweepIdle, sweepLimit)
	if err != nil {
		return err
	}
	for _, id := range ids {
		change, err := s.deps.Open.Check(ctx, id)
		if err != nil {
			return err
		}
		if change.Crossed {
			s.deps.Updates.Publish(change.Owner, change.Progress)
		}
		if !change.Unsignalled {
			continue
		}
		if err := s.deps.signal(ctx, change); err != nil {
			return err
		}
	}
	return nil
}
