package usecase

import (
	"context"
	"time"
)

const (
	sweepEvery = 5 * time.Second
	sweepLimit = 100             // projects per sweep
	sweepIdle  = 5 * time.Second // a project touched more recently is still being worked on
	// sweepPatience is how many projects in a row may fail to be signalled before the database counts as unavailable.
	sweepPatience = 3
)

// Sweeper completes the projects that were left open: another service wrote the total after the last item, a reply was
// lost, or a process died before it stored job.completed. Any number may run, in any number of processes.
type Sweeper struct {
	deps    Deps
	failing bool            // the last sweep failed
	passed  map[string]bool // projects that could not be completed
}

// NewSweeper returns a Sweeper on d.
func NewSweeper(d Deps) *Sweeper { return &Sweeper{deps: d, passed: map[string]bool{}} }

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

// Sweep completes up to 100 open projects, least recently touched first. One that cannot be completed is reported, and
// passed over: it is now the most recently touched one. Sweep returns an error when no other project would fare better,
// because Redis or the database is unavailable.
func (s *Sweeper) Sweep(ctx context.Context) error {
	ids, err := s.deps.Open.ListOpen(ctx, sweepIdle, sweepLimit)
	if err != nil {
		return err
	}
	unsignalled := 0 // in a row
	for _, id := range ids {
		change, err := s.deps.Open.Check(ctx, id)
		if err != nil && s.deps.Open.Postpone(ctx, id) != nil {
			return err
		}
		if err == nil && change.Crossed {
			s.deps.Updates.Publish(change.Owner, change.Progress)
		}
		if err == nil && change.Unsignalled {
			err = s.deps.signal(ctx, change)
			unsignalled++
		}
		switch {
		case err == nil:
			unsignalled = 0
			delete(s.passed, id)
		case ctx.Err() != nil, unsignalled >= sweepPatience:
			return err
		default:
			s.deps.Observer.SweepFailed(id, s.passed[id], err)
			s.passed[id] = true
		}
	}
	return nil
}
