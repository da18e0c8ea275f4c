package main

import (
	"context"
	"strings"
	"time"

	"github.com/smap-platform/identity/test/harness"
)

const (
	starts   = 15
	startAim = 100 * time.Millisecond
	// settling is how long a process idles before its memory is read.
	settling = 5 * time.Second
)

// startUp measures how long an api and a consumer take from exec to the first 200 of /ready, and what memory they have
// when they idle.
func (b *bench) startUp(ctx context.Context) error {
	s, err := b.startService(ctx)
	if err != nil {
		return err
	}
	var memories []string
	for _, p := range []*harness.Process{s.APIs[0], s.Consumers[0]} {
		var took []time.Duration
		for range starts {
			if _, err := p.Terminate(ctx); err != nil {
				return err
			}
			started := time.Now()
			if err := p.Start(ctx); err != nil {
				return err
			}
			if err := p.WaitReady(ctx); err != nil {
				return err
			}
			took = append(took, time.Since(started))
		}
		b.report.latency("start of "+p.Name+" until /ready", took, map[float64]time.Duration{0.5: startAim})
		select {
		case <-time.After(settling):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, _, err := p.Memory()
		if err != nil {
			return err
		}
		memories = append(memories, p.Name+" "+mib(now))
	}
	b.report.note("memory when idle: %s", strings.Join(memories, ", "))
	return nil
}
