// Package usecase sends mails by the rules of the notification domain.
package usecase

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Deps are the parts of a Sender; all are needed but the InvitationURL.
type Deps struct {
	Tx       notification.Transactor
	Ledger   notification.Ledger
	Mailer   notification.Mailer
	Renderer notification.Renderer
	Clock    notification.Clock
	Observer notification.Observer
	// Lease is how long one try may take before it counts as vanished: twice the mailer's own deadline.
	Lease time.Duration
	// Domain is the right side of every Message-ID, usually that of the sender's address.
	Domain string
	// InvitationURL is the page where an invitation is accepted, with {token} in the place of the token. Empty: there is
	// none, and the mail shows the token itself.
	InvitationURL string
}

// Sender sends each mail at most once per event, but for the window the package notification describes. Its errors
// are in the vocabulary of internal/event, ready to be a handler's result.
type Sender struct {
	Deps
	// unrecorded are the mails this process knows to be accepted while the ledger does not: the database was away for
	// too long. There are never more than tries that were under way when it went.
	unrecorded sync.Map
}

// NewSender answers a Sender.
func NewSender(d Deps) *Sender { return &Sender{Deps: d} }

// Verification is a mail with a one-time code.
type Verification struct {
	EventID   string
	Recipient string
	Code      string
	Locale    string
	ExpiresAt time.Time
}

// SendVerification sends the mail of a code that is alive, and drops one that has died.
func (s *Sender) SendVerification(ctx context.Context, v Verification) error {
	now := s.Clock.Now()
	if !now.Before(v.ExpiresAt) {
		return s.expire(ctx, v.EventID)
	}
	content, err := s.Renderer.Verification(v.Locale, v.Code, now, v.ExpiresAt)
	if err != nil {
		return event.Permanent(event.ReasonInvalid, err)
	}
	return s.send(ctx, v.EventID, notification.Mail{To: v.Recipient, Content: content})
}

// Supersede records that the mail of eventID is not to be sent any more. It answers event.Drop with what became of it
// when it has been sent before, or has expired.
func (s *Sender) Supersede(ctx context.Context, eventID string) error {
	drop, err := s.drop(ctx, eventID, notification.StateSuperseded)
	if err != nil || drop == event.DropSuperseded {
		return err
	}
	return event.Drop(drop)
}

// expire is for a mail that would come too late.
func (s *Sender) expire(ctx context.Context, eventID string) error {
	drop, err := s.drop(ctx, eventID, notification.StateExpired)
	if err != nil {
		return err
	}
	return event.Drop(drop)
}

// drop ends the mail of eventID unsent, unless it has ended before, and answers which event.Drop it is. One that
// somebody is sending just now is left to him.
func (s *Sender) drop(ctx context.Context, eventID string, state notification.State) (string, error) {
	var news bool
	found := state
	err := s.update(ctx, eventID, func(d *notification.Delivery) {
		if news = d.Drop(state, s.Clock.Now()); d.State != notification.StateSending {
			found = d.State
		}
	})
	if err != nil {
		return "", err
	}
	if news {
		s.Observer.MailDropped(state)
	}
	return dropOf(found), nil
}

// dropOf answers why an event is dropped whose mail has ended in state. Only what was sent is a duplicate: whoever
// counts mails counts the others as not sent, however often the event comes.
func dropOf(state notification.State) string {
	switch state {
	case notification.StateExpired:
		return event.DropExpired
	case notification.StateSuperseded:
		return event.DropSuperseded
	default:
		return event.DropDuplicate
	}
}

// send is take → SMTP → record. No transaction is open while the server is spoken to.
func (s *Sender) send(ctx context.Context, eventID string, mail notification.Mail) error {
	taken, err := s.take(ctx, eventID)
	if err != nil {
		return err
	}
	mail.MessageID = taken.MessageID
	failure, err := s.try(ctx, mail, func(ctx context.Context) error { return s.record(ctx, eventID) })
	if failure == nil {
		return err // sent; or sent and not recorded, which this process remembers and another takes for a crash
	}
	return s.failed(context.WithoutCancel(ctx), taken, failure)
}

// errCut stands for the end of a context after the final dot.
var errCut = errors.New("the answer to the final dot was not waited for any longer")

// try hands the mail to the server once and counts how that ended. record is called after its 250; what it answers is
// err, and failure is then nil.
func (s *Sender) try(
	ctx context.Context, mail notification.Mail, record func(context.Context) error,
) (failure *notification.SendError, err error) {
	err = s.Mailer.Send(ctx, mail, func(ctx context.Context) error {
		s.Observer.MailAccepted()
		return record(ctx)
	})
	failure, failed := errors.AsType[*notification.SendError](err)
	if !failed {
		return nil, err
	}
	s.Observer.MailFailed(failure.Where)
	if failure.Class == notification.ClassAmbiguous && errors.Is(failure, context.Canceled) {
		// A delivery that a shutdown has cut off is given back untouched (event.Decide). This one is not untouched: given
		// back to a queue of the previous release, it could go to a consumer without a ledger (docs/adr/0006).
		failure = &notification.SendError{Class: failure.Class, Where: failure.Where, Err: errCut}
	}
	return failure, nil
}

// take asks the ledger for this mail and answers its entry.
func (s *Sender) take(ctx context.Context, eventID string) (taken notification.Delivery, err error) {
	var repeat bool
	var verdict error
	err = s.update(ctx, eventID, func(d *notification.Delivery) {
		repeat, verdict = d.Take(s.Clock.Now(), s.Lease) // whatever the verdict, the entry is stored
		taken = *d
	})
	if err != nil {
		return taken, err
	}
	if busy, ok := errors.AsType[*notification.BusyError](verdict); ok {
		return taken, event.NotYet(busy.Wait, busy)
	}
	if failure, ok := errors.AsType[*notification.SendError](verdict); ok {
		return taken, permanent(failure)
	}
	if verdict != nil { // already sent, or dropped
		return taken, event.Drop(dropOf(taken.State))
	}
	if repeat {
		s.Observer.MailRepeated()
	}
	return taken, nil
}

// recordFor is how long record goes on trying, though never beyond the lease, of which the mailer may have used half:
// the connection to the mail server is held open meanwhile, and a record that is missing means the mail is sent again.
const recordFor = 10 * time.Second

// record writes the 250 down.
func (s *Sender) record(ctx context.Context, eventID string) error {
	ctx, cancel := context.WithTimeout(ctx, min(recordFor, s.Lease/2))
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := s.update(ctx, eventID, func(d *notification.Delivery) {
			d.Accept(s.Clock.Now())
		})
		if err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			s.unrecorded.Store(eventID, true)
			return fmt.Errorf("notification: a mail was accepted and could not be recorded: %w", err)
		}
	}
}

// failed records what kind of failure the try taken ended with, and answers what shall happen with the event.
func (s *Sender) failed(ctx context.Context, taken notification.Delivery, failure *notification.SendError) error {
	next := error(failure)
	err := s.update(ctx, taken.EventID, func(d *notification.Delivery) {
		now := s.Clock.Now()
		switch {
		case !d.Holds(taken.Attempts): // too late to say anything: the next delivery finds what the others made of it
		case failure.Class == notification.ClassRejected:
			d.Fail(failure.Where, now)
			next = permanent(failure)
		case failure.Class == notification.ClassInvalid:
			d.Fail(notification.ErrInvalid.ErrorClass(), now)
			next = permanent(failure)
		case failure.Class == notification.ClassAmbiguous && d.Resends >= notification.MaxResends:
			d.Fail(notification.ErrAmbiguous.ErrorClass(), now)
			next = permanent(failure)
		case failure.Class == notification.ClassAmbiguous:
			d.Doubt(failure.Where, now)
		default:
			d.Release(failure.Where, now)
		}
	})
	if err != nil {
		return errors.Join(failure, err) // the lease ends by itself
	}
	return next
}

// permanent is for the dead letters: nothing but a person sends this mail again.
func permanent(failure *notification.SendError) error {
	reason := event.ReasonRejected
	switch failure.Class {
	case notification.ClassAmbiguous:
		reason = event.ReasonAmbiguous
	case notification.ClassInvalid:
		reason = event.ReasonInvalid
	case notification.ClassGivenUp:
		reason = failure.Where
	}
	return event.Permanent(reason, failure)
}

// update changes the entry of eventID in a transaction of its own, and records first what could not be recorded before.
func (s *Sender) update(ctx context.Context, eventID string, change func(*notification.Delivery)) error {
	_, unrecorded := s.unrecorded.Load(eventID)
	err := s.Tx.WithinTx(ctx, func(ctx context.Context) error {
		d, err := s.Ledger.Lock(ctx, notification.NewDelivery(eventID, s.messageID(eventID), s.Clock.Now()))
		if err != nil {
			return err
		}
		if unrecorded {
			d.Accept(s.Clock.Now())
		}
		change(&d)
		return s.Ledger.Save(ctx, d)
	})
	if err != nil {
		return fmt.Errorf("notification: the mail ledger: %w", err)
	}
	if unrecorded {
		s.unrecorded.Delete(eventID)
	}
	return nil
}

// messageID is what the first try writes into the ledger and every later one takes from there, so that a receiving
// system can recognise a repeat even when Domain has changed in between.
func (s *Sender) messageID(eventID string) string { return eventID + "@" + s.Domain }
