// Package usecase sends mails by the rules of the notification domain, one verb per file.
//
// It promises one try at a time for every event, and that no transaction is open during an SMTP conversation. It does
// not retry by itself: its errors are in the vocabulary of internal/event, ready to be a handler's result.
package usecase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Deps is what a Sender works with. Everything but InvitationURL is required.
type Deps struct {
	Tx       notification.Transactor
	Ledger   notification.Ledger
	Mailer   notification.Mailer
	Renderer notification.Renderer
	Clock    notification.Clock
	Observer notification.Observer
	// Recipients is what the ledger knows recipients by.
	Recipients notification.RecipientKey
	// Lease is how long the mail of a killed process waits before another may try. A try renews its own every RenewEvery,
	// and ends before the lease does when it cannot.
	Lease      time.Duration
	RenewEvery time.Duration
	// Domain is the right side of every Message-ID, usually that of the sender's address.
	Domain string
	// InvitationURL is the page where an invitation is accepted, with {token} in the place of the token. When it is
	// empty, the mail shows the token itself.
	InvitationURL string
}

// Sender sends each mail at most once per event, but for the window that package notification describes. It is safe for
// concurrent use.
type Sender struct {
	deps Deps
	// One streak per lane: what a person waits for, what is one of many, and what the previous release has written.
	direct, bulk, written streak
	// unrecorded holds the mails that this process knows to be accepted while the ledger does not, because the database
	// was unavailable for too long. There are never more of them than tries under way at that moment.
	unrecorded sync.Map
}

// New returns a Sender.
func New(d Deps) *Sender { return &Sender{deps: d} }

// request is a mail that an event asks for.
type request struct {
	eventID    string
	kind       string // see notification.Delivery
	mail       notification.Mail
	maxResends int
	streak     *streak
}

// sendRendered sends content, unless rendering it failed with renderErr: then no further try can succeed.
func (s *Sender) sendRendered(ctx context.Context, r request, content notification.Content, renderErr error) error {
	if renderErr != nil {
		return event.Permanent(event.ReasonInvalid, renderErr)
	}
	r.mail.Content = content
	return s.send(ctx, r)
}

// send claims the mail, hands it to the server and records the outcome. No transaction is open during the
// conversation.
func (s *Sender) send(ctx context.Context, r request) error {
	began := time.Now()
	claimed, err := s.claim(ctx, r)
	if err != nil {
		return err
	}
	r.mail.MessageID = claimed.MessageID
	err = s.converse(ctx, r, claimed, began)
	failure, failed := errors.AsType[*notification.SendError](err)
	if !failed {
		return err // nil, or what recordAccepted returned for a mail that was sent: only this process remembers it
	}
	s.deps.Observer.MailFailed(failure.Where)
	return s.recordFailure(context.WithoutCancel(ctx), r, claimed, failure)
}

// converse hands a claimed mail to the server, and keeps its lease meanwhile.
func (s *Sender) converse(ctx context.Context, r request, claimed notification.Delivery, began time.Time) error {
	ctx, release := s.hold(ctx, claimed, began)
	defer release()
	return s.deps.Mailer.Send(ctx, r.mail, func(ctx context.Context) error {
		r.streak.accepted()
		s.deps.Observer.MailAccepted(ctx, r.eventID, r.mail.To)
		return s.recordAccepted(ctx, r.eventID)
	})
}

// claim begins a try in the ledger and returns the entry.
func (s *Sender) claim(ctx context.Context, r request) (claimed notification.Delivery, err error) {
	var repeat bool
	var refusal error
	err = s.updateEntry(ctx, r.eventID, func(d *notification.Delivery) {
		s.describe(d, r)
		repeat, refusal = d.Claim(s.deps.Clock.Now(), s.deps.Lease, r.maxResends) // a refused entry is stored as well
		claimed = *d
	})
	if err != nil {
		return claimed, err
	}
	if busy, ok := errors.AsType[*notification.BusyError](refusal); ok {
		return claimed, event.NotYet(busy.Wait, busy)
	}
	if failure, ok := errors.AsType[*notification.SendError](refusal); ok {
		return claimed, permanent(failure)
	}
	if refusal != nil { // already sent, or dropped
		return claimed, event.Drop(dropReason(claimed.State))
	}
	if repeat {
		s.deps.Observer.MailRepeated()
	}
	return claimed, nil
}

// recordAccepted writes the 250 to the ledger, and tries for as long as a lease lasts. The connection to the mail server
// stays open meanwhile, and a missing record means that the mail is sent again.
func (s *Sender) recordAccepted(ctx context.Context, eventID string) error {
	ctx, cancel := context.WithTimeout(ctx, s.deps.Lease)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.updateEntry(ctx, eventID, func(d *notification.Delivery) { d.Accept(s.deps.Clock.Now()) })
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			s.unrecorded.Store(eventID, true)
			return fmt.Errorf("notification: recording an accepted mail: %w", err)
		}
	}
}

// recordFailure writes the failure of a claimed try to the ledger and returns the handler's result.
func (s *Sender) recordFailure(
	ctx context.Context, r request, claimed notification.Delivery, failure *notification.SendError,
) error {
	temporary := error(failure)
	if r.refusesUs(failure) {
		temporary = blocked(failure)
	}
	var result error
	err := s.updateEntry(ctx, claimed.EventID, func(d *notification.Delivery) {
		result = temporary
		now := s.deps.Clock.Now()
		switch {
		case !d.Holds(claimed.Attempts): // too late: the next delivery finds what the other try recorded
		case failure.Class == notification.ClassRejected:
			d.Fail(failure.Where, now)
			result = permanent(failure)
		case failure.Class == notification.ClassInvalid:
			d.Fail(notification.ErrInvalid.ErrorClass(), now)
			result = permanent(failure)
		case failure.Class == notification.ClassAmbiguous && d.Resends >= r.maxResends:
			d.Fail(notification.ErrAmbiguous.ErrorClass(), now)
			result = permanent(failure)
		case failure.Class == notification.ClassAmbiguous:
			result = event.NotYet(d.Doubt(failure.Where, now), failure)
		default:
			d.Release(failure.Where, now)
		}
	})
	if err != nil {
		return errors.Join(temporary, err) // the lease ends by itself
	}
	return result
}

// refusesUs reports whether failure is the server's refusal of this service, whatever mail it named.
func (r request) refusesUs(failure *notification.SendError) bool {
	switch failure.Class {
	case notification.ClassBlocked:
		return true
	case notification.ClassTemporary: // a try that was cut off from our side says nothing about the server
		return !errors.Is(failure, context.Canceled) && r.streak.failed(failure.Where, r.eventID, r.mail.To)
	default:
		return false
	}
}

// refusedFor is how long the next probe waits where the server replies and refuses this service for good: only a change
// of its settings or ours helps.
const refusedFor = 30 * time.Second

// blocked returns the error that pauses the lane.
func blocked(failure *notification.SendError) error {
	if failure.Refused() {
		return event.BlockedFor(refusedFor, failure)
	}
	return event.Blocked(failure)
}

// permanent returns the error that dead-letters the event: only an operator's replay sends the mail again.
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

// describe completes the entry of a mail whose event was committed without one.
func (s *Sender) describe(d *notification.Delivery, r request) {
	if d.Recipient == nil {
		d.Kind, d.Recipient = r.kind, s.deps.Recipients.Digest(r.mail.To)
	}
}

// updateEntry changes the entry of eventID in a transaction of its own, which may run change twice. It first records an
// acceptance that could not be recorded before.
func (s *Sender) updateEntry(ctx context.Context, eventID string, change func(*notification.Delivery)) error {
	_, unrecorded := s.unrecorded.Load(eventID)
	err := s.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		// The first try stores the Message-ID and every later one uses it, so that a receiving system recognises a repeat
		// even when Domain has changed in between.
		fresh := notification.NewDelivery(eventID, eventID+"@"+s.deps.Domain, s.deps.Clock.Now())
		d, err := s.deps.Ledger.Lock(ctx, fresh)
		if err != nil {
			return err
		}
		d.MessageID = cmp.Or(d.MessageID, fresh.MessageID)
		if unrecorded {
			d.Accept(s.deps.Clock.Now())
		}
		change(&d)
		return s.deps.Ledger.Save(ctx, d)
	})
	if err != nil {
		return fmt.Errorf("notification: the mail ledger: %w", err)
	}
	if unrecorded {
		s.unrecorded.Delete(eventID)
	}
	return nil
}
