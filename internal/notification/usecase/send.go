// Package usecase sends mails by the rules of the notification domain.
package usecase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Deps are the parts of a Sender; all are needed.
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
}

// Sender sends each mail at most once per event, but for the window the package notification describes. Its errors
// are in the vocabulary of internal/event, ready to be a handler's result.
type Sender struct{ Deps }

// NewSender answers a Sender.
func NewSender(d Deps) *Sender { return &Sender{d} }

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
		if err := s.drop(ctx, v.EventID, notification.StateExpired); err != nil {
			return err
		}
		return event.Drop(event.DropExpired)
	}
	content, err := s.Renderer.Verification(v.Locale, v.Code, now, v.ExpiresAt)
	if err != nil {
		return event.Permanent(event.ReasonInvalid, err)
	}
	return s.send(ctx, v.EventID, v.Recipient, content)
}

// Supersede records that the mail of eventID is not to be sent any more.
func (s *Sender) Supersede(ctx context.Context, eventID string) error {
	return s.drop(ctx, eventID, notification.StateSuperseded)
}

func (s *Sender) drop(ctx context.Context, eventID string, state notification.State) error {
	err := s.update(ctx, eventID, func(d *notification.Delivery) {
		d.Drop(state, s.Clock.Now())
	})
	if err != nil {
		return err
	}
	s.Observer.MailDropped(state)
	return nil
}

// send is take → SMTP → record. No transaction is open while the server is spoken to.
func (s *Sender) send(ctx context.Context, eventID, to string, content notification.Content) error {
	if err := s.take(ctx, eventID); err != nil {
		return err
	}
	err := s.Mailer.Send(ctx, notification.Mail{MessageID: s.messageID(eventID), To: to, Content: content},
		func(ctx context.Context) error { return s.accepted(ctx, eventID) })
	failure, ok := errors.AsType[*notification.SendError](err)
	if err == nil || !ok {
		return err // sent; or sent and not recorded, which the end of the lease will treat as a repeat
	}
	s.Observer.MailFailed(failure.Where)
	return s.failed(context.WithoutCancel(ctx), eventID, failure)
}

// take asks the ledger for this mail.
func (s *Sender) take(ctx context.Context, eventID string) error {
	var repeat bool
	var verdict error
	err := s.update(ctx, eventID, func(d *notification.Delivery) {
		repeat, verdict = d.Take(s.Clock.Now(), s.Lease) // whatever the verdict, the entry is stored
	})
	if err != nil {
		return err
	}
	if busy, ok := errors.AsType[*notification.BusyError](verdict); ok {
		return event.NotYet(busy.Wait, busy)
	}
	switch {
	case errors.Is(verdict, notification.ErrAlreadySent), errors.Is(verdict, notification.ErrDropped):
		return event.Drop(event.DropDuplicate)
	case verdict != nil:
		return event.Permanent(event.ReasonAmbiguous, verdict)
	}
	if repeat {
		s.Observer.MailRepeated()
	}
	return nil
}

// recordFor is how long accepted goes on trying: the connection to the mail server is held open meanwhile, and a
// record that is missing means the mail is sent again.
const recordFor = 10 * time.Second

// accepted records the 250.
func (s *Sender) accepted(ctx context.Context, eventID string) error {
	s.Observer.MailAccepted()
	ctx, cancel := context.WithTimeout(ctx, recordFor)
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
			return fmt.Errorf("notification: a mail was accepted and could not be recorded: %w", err)
		}
	}
}

// failed records what kind of failure it was, and answers what shall happen with the event.
func (s *Sender) failed(ctx context.Context, eventID string, failure *notification.SendError) error {
	next := error(failure)
	err := s.update(ctx, eventID, func(d *notification.Delivery) {
		now := s.Clock.Now()
		switch {
		case failure.Class == notification.ClassRejected:
			d.Fail(failure.Where, now)
			next = event.Permanent(event.ReasonRejected, failure)
		case failure.Class == notification.ClassAmbiguous && d.Resends >= notification.MaxResends:
			d.Fail(failure.Where, now)
			next = event.Permanent(event.ReasonAmbiguous, failure)
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

// update changes the entry of eventID in a transaction of its own.
func (s *Sender) update(ctx context.Context, eventID string, change func(*notification.Delivery)) error {
	err := s.Tx.WithinTx(ctx, func(ctx context.Context) error {
		d, err := s.Ledger.Lock(ctx, notification.NewDelivery(eventID, s.messageID(eventID), s.Clock.Now()))
		if err != nil {
			return err
		}
		change(&d)
		return s.Ledger.Save(ctx, d)
	})
	if err != nil {
		return fmt.Errorf("notification: the mail ledger: %w", err)
	}
	return nil
}

// messageID is the same for every try, so that a receiving system can recognise a repeat.
func (s *Sender) messageID(eventID string) string { return eventID + "@" + s.Domain }

// MayReplay tells whether a dead-lettered mail may be sent again: not when the ledger knows it was accepted.
func (s *Sender) MayReplay(ctx context.Context, eventID string) (bool, error) {
	state, err := s.Ledger.State(ctx, eventID)
	if err != nil {
		return false, fmt.Errorf("notification: the mail ledger: %w", err)
	}
	return state != notification.StateAccepted, nil
}
