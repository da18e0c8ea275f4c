package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// MirrorState writes what an event said to the StateStore. An event that comes late, behind a higher version, is
// dropped as stale; one that comes twice is written twice, which changes nothing. Any other error is worth a retry.
func (p *Projection) MirrorState(ctx context.Context, s subscription.State) error {
	applied, err := p.states.Apply(ctx, s)
	if err != nil {
		return err
	}
	if !applied {
		return event.Drop(event.DropStale)
	}
	return nil
}
