package usecase

import (
	"cmp"
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Supersede records that the mail of eventID is no longer wanted. When the mail has already been sent, or has expired,
// it returns event.Drop with that reason. While a try is under way or may be repeated, it returns event.NotYet: keep the
// event, which then finds how the try has ended, or that it never will.
func (s *Sender) Supersede(ctx context.Context, eventID string) error {
	reason, err := s.drop(ctx, eventID, notification.StateSuperseded, func(*notification.Delivery) {})
	if err != nil || reason == event.DropSuperseded {
		return err
	}
	return event.Drop(reason)
}

// expire drops a mail that would come too late.
func (s *Sender) expire(ctx context.Context, r request) error {
	reason, err := s.drop(ctx, r.eventID, notification.StateExpired, func(d *notification.Delivery) { s.describe(d, r) })
	if err != nil {
		return err
	}
	return event.Drop(reason)
}

// NeverLeft reports whether the mail of eventID has expired and no server can have had it or refused it for good.
func (s *Sender) NeverLeft(ctx context.Context, eventID string) (never bool, err error) {
	err = s.updateEntry(ctx, eventID, func(d *notification.Delivery) { never = d.NeverLeft() })
	return never, err
}

// drop ends the mail of eventID, unless it has ended before, and returns the reason for event.Drop.
func (s *Sender) drop(
	ctx context.Context, eventID string, state notification.State, describe func(*notification.Delivery),
) (reason string, err error) {
	var changed bool
	var refusal error
	var final notification.State
	err = s.updateEntry(ctx, eventID, func(d *notification.Delivery) {
		describe(d)
		changed, refusal = d.Drop(state, s.deps.Clock.Now())
		final = d.State
	})
	if err != nil {
		return "", err
	}
	if busy, ok := errors.AsType[*notification.BusyError](refusal); ok {
		return "", event.NotYet(busy.Wait, busy)
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
