package usecase

import (
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// changeEvent returns the event that reports a change, of which s is the result.
func changeEvent(s subscription.Subscription, c subscription.Change, grace time.Duration) event.Event {
	e := event.Event{ID: event.NewID(), Time: s.UpdatedAt}
	switch c.Notice {
	case subscription.NoticeCreated:
		e.Key, e.Data = event.SubscriptionCreated, createdData(s, grace)
	case subscription.NoticeCancelled:
		at := s.UpdatedAt // of a trial that expired nobody has cancelled anything
		if s.CancelledAt != nil {
			at = *s.CancelledAt
		}
		e.Key, e.Data = event.SubscriptionCancelled, event.SubscriptionCancelledData{
			Version:            s.Version,
			SubscriptionID:     s.ID,
			UserID:             s.UserID,
			PlanCode:           s.PlanCode,
			PreviousStatus:     string(c.From),
			NewStatus:          string(c.To),
			CancelledAt:        at,
			CancellationReason: c.Reason,
			EffectiveUntil:     s.EffectiveUntil(grace),
			AdminUserID:        c.AdminID,
		}
	default:
		e.Key, e.Data = event.SubscriptionStatusChanged, event.SubscriptionStatusChangedData{
			Version:          s.Version,
			SubscriptionID:   s.ID,
			UserID:           s.UserID,
			PlanCode:         s.PlanCode,
			PreviousStatus:   string(c.From),
			NewStatus:        string(c.To),
			EffectiveUntil:   s.EffectiveUntil(grace),
			TransitionReason: c.Reason,
		}
	}
	return e
}

func createdData(s subscription.Subscription, grace time.Duration) event.SubscriptionCreatedData {
	d := event.SubscriptionCreatedData{
		Version:        s.Version,
		SubscriptionID: s.ID,
		UserID:         s.UserID,
		PlanCode:       s.PlanCode,
		Status:         string(s.Status),
		EffectiveUntil: s.EffectiveUntil(grace),
		CreatedAt:      s.CreatedAt,
	}
	if s.Status == subscription.StatusTrialing {
		d.TrialStart, d.TrialEnd = &s.StartsAt, s.TrialEndsAt
	} else {
		d.SubscriptionStart, d.SubscriptionEnd = &s.StartsAt, s.EndsAt
	}
	return d
}
