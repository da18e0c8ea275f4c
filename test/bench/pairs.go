package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"time"
)

// side does its work once and returns how long it took.
type side func(ctx context.Context) (time.Duration, error)

// timed makes a side of work that is timed as a whole.
func timed(work func(ctx context.Context) error) side {
	return func(ctx context.Context) (time.Duration, error) {
		started := time.Now()
		err := work(ctx)
		return time.Since(started), err
	}
}

// comparison is ours beside bare, n units of work each time.
type comparison struct {
	what       string
	n          int
	aim        float64                         // the least ratio of ours to bare; 0: none
	prepare    func(ctx context.Context) error // before each side, not timed; nil: nothing
	ours, bare side
	verify     func(ctx context.Context) error // after each side, not timed; nil: nothing
}

// compare measures ours and bare in turns. The order changes from pair to pair, so that neither always profits from
// what the other left behind. One pair before them warms up and is not counted.
func (b *bench) compare(ctx context.Context, c comparison) error {
	var ours, bare, ratios []float64
	for i := range b.pairs + 1 {
		sides := []side{c.ours, c.bare}
		if b.profile != "" && i == b.pairs {
			sides[0] = profiled(c.ours, b.profile)
		}
		rates := make([]float64, 2)
		for _, k := range []int{i % 2, 1 - i%2} {
			took, err := c.once(ctx, sides[k])
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.what, []string{"ours", "bare"}[k], err)
			}
			rates[k] = float64(c.n) / took.Seconds()
		}
		if i > 0 {
			ours = append(ours, rates[0])
			bare = append(bare, rates[1])
			ratios = append(ratios, rates[0]/rates[1])
		}
	}
	b.report.rate(c.what, median(ours), median(bare), slices.Min(ratios), c.aim, median(ratios))
	return nil
}

func (c comparison) once(ctx context.Context, run side) (time.Duration, error) {
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	took, err := run(ctx)
	if err == nil && c.verify != nil {
		err = c.verify(ctx)
	}
	return took, err
}

// profiled writes a CPU profile of the side to the file.
func profiled(run side, name string) side {
	return func(ctx context.Context) (time.Duration, error) {
		file, err := os.Create(name)
		if err != nil {
			return 0, err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return 0, errors.Join(err, file.Close())
		}
		took, err := run(ctx)
		pprof.StopCPUProfile()
		return took, errors.Join(err, file.Close())
	}
}

// inParallel calls do with 0 to n-1 at once and returns what all of them return.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { errs[i] = do(i) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// everyTick yields 0, 1, 2, … with this pause until ctx ends.
func everyTick(ctx context.Context, pause time.Duration) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !yield(i) {
					return
				}
			}
		}
	}
}
