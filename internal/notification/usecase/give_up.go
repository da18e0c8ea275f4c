package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// GiveUp is for an event that is about to be dead-lettered: a mail that has not ended by itself has failed then, for
// this reason, one of internal/event's. Whatever has ended stays what it is. While a try is under way, which may yet
// send the mail, GiveUp answers event.NotYet: keep the event and come again.
//
// A mail that was given up is sent when a person replays its event (notification.Ledger.Reopen).
func (s *Sender) GiveUp(ctx context.Context, eventID, reason string) error {
	var verdict error
	err := s.update(ctx, eventID, func(d *notification.Delivery) {
		verdict = d.GiveUp(reason, s.Clock.Now())
	})
	if busy, ok := errors.AsType[*notification.BusyError](verdict); ok && err == nil {
		return event.NotYet(busy.Wait, busy)
	}
	return err
}
