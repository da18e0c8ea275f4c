package password

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// gate lets a bounded number of callers in at a time; the others wait, but not for ever.
type gate struct {
	places   chan struct{}
	patience time.Duration
	waiting  atomic.Int64
}

func newGate(places int, patience time.Duration) *gate {
	return &gate{places: make(chan struct{}, places), patience: patience}
}

// enter returns the function that gives the place back, or ErrBusy with what ended the wait.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g.places }
	select {
	case g.places <- struct{}{}:
		return leave, nil
	default:
	}
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	select {
	case g.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, authentication.ErrBusy.WithCause(fmt.Errorf("waiting to hash a password: %w", ctx.Err()))
	}
}

func (g *gate) load() (running, waiting int) { return len(g.places), int(g.waiting.Load()) }
