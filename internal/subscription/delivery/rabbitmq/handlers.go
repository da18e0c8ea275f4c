// Package rabbitmq passes subscription events to the use cases. It depends on no broker: the in-process broker runs the
// same handlers.
package rabbitmq

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// Projection is the use case that the events reach. Its errors decide what happens to the event; see [event.Decide].
type Projection interface {
	MirrorState(ctx context.Context, s subscription.State) error
}

// Created returns the handler of subscription.created.
func Created(p Projection) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.SubscriptionCreatedData) error {
		return p.MirrorState(ctx, state(e, d.UserID, d.Version, d.SubscriptionID, d.PlanCode, d.Status, d.EffectiveUntil))
	})
}

// Cancelled returns the handler of subscription.cancelled.
func Cancelled(p Projection) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.SubscriptionCancelledData) error {
		return p.MirrorState(ctx, state(e, d.UserID, d.Version, d.SubscriptionID, d.PlanCode, d.NewStatus, d.EffectiveUntil))
	})
}

// StatusChanged returns the handler of subscription.status_changed.
func StatusChanged(p Projection) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.SubscriptionStatusChangedData) error {
		return p.MirrorState(ctx, state(e, d.UserID, d.Version, d.SubscriptionID, d.PlanCode, d.NewStatus, d.EffectiveUntil))
	})
}

func state(
	e event.Received, userID string, version int64, subscriptionID, planCode, status string, until *time.Time,
) subscription.State {
	return subscription.State{
		UserID:         userID,
		Version:        version,
		SubscriptionID: subscriptionID,
		PlanCode:       planCode,
		Status:         subscription.Status(status),
		EffectiveUntil: until,
		UpdatedAt:      e.Time,
	}
}
