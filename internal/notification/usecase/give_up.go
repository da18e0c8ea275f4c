package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// GiveUp fails the mail of an event that is about to be dead-lettered for reason, one of internal/event's. A mail that
// has ended stays as it is. While a try is under way, which may still send the mail, GiveUp returns event.NotYet: keep
// the event and come back.
//
// An operator's replay of the event sends the mail after all.
func (s *Sender) GiveUp(ctx context.Context, eventID, reason string) error {
	var refusal error
	err := s.updateEntry(ctx, eventID, func(d *notification.Delivery) {
		refusal = d.GiveUp(reason, s.deps.Clock.Now())
	})
	if busy, ok := errors.AsType[*notification.BusyError](refusal); ok && err == nil {
		return event.NotYet(busy.Wait, busy)
	}
	return err
}
