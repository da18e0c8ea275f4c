// Package rabbitmq passes subscription events to the use cases. It depends on no broker: the in-process broker runs the
// same handlers.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// Projection is the use case that the events reach. Its errors decide what happens to the event; see [event.Decide].
type Projection interface {
	MirrorState(ctx context.Context, s subscription.State) error
}

// Register registers the handlers of all subscription.* keys on r.
func Register(r *event.Router, p Projection) {
	r.On(event.SubscriptionCreated, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionCreatedData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID:         d.UserID,
				Version:        d.Version,
				SubscriptionID: d.SubscriptionID,
				PlanCode:       d.PlanCode,
				Status:         subscription.Status(d.Status),
				EffectiveUntil: d.EffectiveUntil,
				UpdatedAt:      e.Time,
			})
		}))
	r.On(event.SubscriptionCancelled, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionCancelledData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID:         d.UserID,
				Version:        d.Version,
				SubscriptionID: d.SubscriptionID,
				PlanCode:       d.PlanCode,
				Status:         subscription.Status(d.NewStatus),
				EffectiveUntil: d.EffectiveUntil,
				UpdatedAt:      e.Time,
			})
		}))
	r.On(event.SubscriptionStatusChanged, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionStatusChangedData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID:         d.UserID,
				Version:        d.Version,
				SubscriptionID: d.SubscriptionID,
				PlanCode:       d.PlanCode,
				Status:         subscription.Status(d.NewStatus),
				EffectiveUntil: d.EffectiveUntil,
				UpdatedAt:      e.Time,
			})
		}))
}
