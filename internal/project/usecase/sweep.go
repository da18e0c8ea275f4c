package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/project"
)

const (
	sweepEvery = 5 * time.Second
	sweepLimit = 100             // projects per tick
	sweepIdle  = 5 * time.Second // those touched since then have somebody at work on them
)

// Sweeper finishes what was left: a total that a neighbour wrote after the last item, an answer that was lost, a process
// that died before its signal. Any number may run, in any number of processes.
type Sweeper struct {
	tracker   project.Tracker
	announcer project.Announcer
	observer  project.Observer
	signaller signaller
	failing   bool // the last sweep did
}

// NewSweeper needs everything but a listener.
func NewSweeper(d Deps) *Sweeper {
	return &Sweeper{tracker: d.Tracker, announcer: d.Announcer, observer: d.Observer, signaller: newSignaller(d)}
}

// Run sweeps every 5 s until ctx ends and answers nil. What is away meanwhile is told to the observer once per outage.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.tell(ctx, s.Sweep(ctx))
		}
	}
}

func (s *Sweeper) tell(ctx context.Context, err error) {
	if ctx.Err() != nil || (err != nil) == s.failing {
		return // stopping, or nothing new
	}
	s.failing = err != nil
	s.observer.Sweeping(err)
}

// Sweep looks at the open projects that nobody has touched for longest, 100 at most, and ends with the first error:
// what one of them lacks, the database or Redis, the others would wait for as well. One that is itself at fault comes
// last in the next sweep, because looking at it has touched it.
func (s *Sweeper) Sweep(ctx context.Context) error {
	open, err := s.tracker.Open(ctx, sweepIdle, sweepLimit)
	if err != nil {
		return err
	}
	for _, id := range open {
		change, err := s.tracker.Check(ctx, id)
		if err != nil {
			return err
		}
		if change.Crossed {
			s.announcer.Announce(change.Owner, change.Progress)
		}
		if !change.Unsignalled {
			continue
		}
		if err := s.signaller.signal(ctx, change); err != nil {
			return err
		}
	}
	return nil
}
