package usecase

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// maxReason bounds the free text that travels in the event, in characters.
const maxReason = 500

// The reasons where the request names none (docs/events.md).
const (
	reasonAdmin = "admin_action"
	reasonUser  = "user_request"
)

// Cancel ends a live subscription at once and answers it as it is then; what was paid or granted stays in effect
// until EffectiveUntil. reason is free text, trimmed; empty takes a default.
//
// ErrBody: reason is too long. ErrNotFound: there is no such subscription. ErrNotYours: it belongs to somebody else
// and the actor is no administrator. ErrCannotCancel: it is not live, as after a first Cancel; of two at once
// exactly one succeeds and is told as an event.
func (l *Lifecycle) Cancel(ctx context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error) {
	reason = strings.TrimSpace(reason)
	if utf8.RuneCountInString(reason) > maxReason {
		problem := fmt.Sprintf("must have at most %d characters", maxReason)
		return subscription.Subscription{}, subscription.ErrBody.WithFields(map[string]string{"reason": problem})
	}
	var s subscription.Subscription
	err := l.tx.WithinTx(ctx, func(ctx context.Context) error {
		var err error
		if s, err = l.subscriptions.ByID(ctx, id); err != nil {
			return err
		}
		if s.UserID != actor.UserID && !actor.Admin {
			return subscription.ErrNotYours
		}
		version, err := l.subscriptions.NextVersion(ctx, s.UserID)
		if err != nil {
			return err
		}
		// Only what is read under the user's lock can be trusted: a neighbour may just have cancelled it.
		if s, err = l.subscriptions.ByID(ctx, id); err != nil {
			return err
		}
		previous := s.Status
		if err := s.Cancel(l.clock.Now()); err != nil {
			return err
		}
		s.Version = version
		if err := l.subscriptions.Update(ctx, s); err != nil {
			return err
		}
		return l.publisher.Publish(ctx, cancelled(s, previous, actor, reason))
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

func cancelled(s subscription.Subscription, previous subscription.Status, actor subscription.Actor, reason string) event.Event {
	data := event.SubscriptionCancelledData{
		Version: s.Version, SubscriptionID: s.ID, UserID: s.UserID, PlanCode: s.PlanCode,
		PreviousStatus: string(previous), NewStatus: string(s.Status), CancelledAt: *s.CancelledAt,
		CancellationReason: reason, EffectiveUntil: s.EffectiveUntil(),
	}
	fallback := reasonUser
	if actor.UserID != s.UserID { // an administrator who cancels his own acts as any user does
		data.AdminUserID, fallback = actor.UserID, reasonAdmin
	}
	if reason == "" {
		data.CancellationReason = fallback
	}
	return event.Event{ID: event.NewID(), Key: event.SubscriptionCancelled, Time: s.UpdatedAt, Data: data}
}
