package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// MirrorState copies the state of an event to the StateStore. It drops an event as stale if a higher version is
// stored. A repeated event is stored again, which changes nothing. After any other error the event is retried.
func (p *Projection) MirrorState(ctx context.Context, s subscription.State) error {
	applied, err := p.deps.States.Apply(ctx, s)
	if err != nil {
		return err
	}
	if !applied {
		return event.Drop(event.DropStale)
	}
	return nil
}
