// Package rabbitmq hands the subscription events to the projection. It knows no broker: the in-process one runs the
// same handlers.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// Projection is what the events are told to; its errors are in the vocabulary of internal/event.
type Projection interface {
	MirrorState(ctx context.Context, s subscription.State) error
}

// Register puts the handler of every subscription.* key on r.
func Register(r *event.Router, p Projection) {
	r.On(event.SubscriptionCreated, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionCreatedData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID: d.UserID, Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode,
				Status: subscription.Status(d.Status), EffectiveUntil: d.EffectiveUntil, UpdatedAt: e.Time,
			})
		}))
	r.On(event.SubscriptionCancelled, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionCancelledData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID: d.UserID, Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode,
				Status: subscription.Status(d.NewStatus), EffectiveUntil: d.EffectiveUntil, UpdatedAt: e.Time,
			})
		}))
	r.On(event.SubscriptionStatusChanged, event.Handle(
		func(ctx context.Context, e event.Received, d event.SubscriptionStatusChangedData) error {
			return p.MirrorState(ctx, subscription.State{
				UserID: d.UserID, Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode,
				Status: subscription.Status(d.NewStatus), EffectiveUntil: d.EffectiveUntil, UpdatedAt: e.Time,
			})
		}))
}
