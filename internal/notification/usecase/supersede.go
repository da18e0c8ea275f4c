package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Supersede records that the mail of eventID is no longer wanted. When the mail has already been sent, or has expired,
// it returns event.Drop with that reason.
func (s *Sender) Supersede(ctx context.Context, eventID string) error {
	reason, err := s.drop(ctx, eventID, notification.StateSuperseded)
	if err != nil || reason == event.DropSuperseded {
		return err
	}
	return event.Drop(reason)
}

// expire drops a mail that would come too late.
func (s *Sender) expire(ctx context.Context, eventID string) error {
	reason, err := s.drop(ctx, eventID, notification.StateExpired)
	if err != nil {
		return err
	}
	return event.Drop(reason)
}

// drop ends the mail of eventID unsent, unless it has ended before, and returns the reason for event.Drop. A mail that
// a try holds is left to that try.
func (s *Sender) drop(ctx context.Context, eventID string, state notification.State) (reason string, err error) {
	var changed bool
	final := state
	err = s.updateEntry(ctx, eventID, func(d *notification.Delivery) {
		if changed = d.Drop(state, s.deps.Clock.Now()); d.State != notification.StateSending {
			final = d.State
		}
	})
	if err != nil {
		return "", err
	}
	if changed {
		s.deps.Observer.MailDropped(state)
	}
	return dropReason(final), nil
}

// dropReason returns why the event of a mail that ended in state is dropped. Only a sent mail is a duplicate: progress
// counts every other as not sent, however often its event comes.
func dropReason(state notification.State) string {
	return cmp.Or(map[notification.State]string{
		notification.StateExpired:    event.DropExpired,
		notification.StateSuperseded: event.DropSuperseded,
	}[state], event.DropDuplicate)
}
