package notification

import (
	"strings"
	"time"
)

// State of a mail in the ledger.
type State string

// The states. All but StateSending are final; StateFailed is final until an operator replays the event.
const (
	StateSending    State = "sending"
	StateAccepted   State = "accepted"   // the server replied 250
	StateFailed     State = "failed"     // refused for good, ambiguous twice, or given up
	StateExpired    State = "expired"    // what it carries expired before it could be sent
	StateSuperseded State = "superseded" // a newer mail has replaced it
)

// MaxResends is how often a mail is repeated although the server may have accepted it before. No protocol closes that
// window (RFC 1047); a second repeat is an operator's decision.
const MaxResends = 1

// Delivery is the ledger's entry for one mail, keyed by the event that asked for it. It decides whether the mail may be
// sent now.
type Delivery struct {
	EventID    string
	State      State
	LeaseUntil *time.Time // in StateSending: a try holds the mail until then; nil: none does
	Attempts   int
	Resends    int
	MessageID  string
	ErrorClass string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// NewDelivery returns the entry of a mail that no try has claimed yet.
func NewDelivery(eventID, messageID string, now time.Time) Delivery {
	return Delivery{EventID: eventID, State: StateSending, MessageID: messageID, CreatedAt: now, UpdatedAt: now}
}

// Claim begins a try whose lease ends at now+lease; Attempts is its number. repeat reports that an earlier try may have
// reached the server.
//
// Claim returns ErrAlreadySent, ErrDropped or *BusyError where there is nothing to do, and ErrAmbiguous where a
// repeated try has vanished; the entry is then failed. A failed entry returns its reason as *SendError: its event comes
// again when it could not be moved to the dead letters, and that is no request to send it.
func (d *Delivery) Claim(now time.Time, lease time.Duration) (repeat bool, err error) {
	switch d.State {
	case StateAccepted:
		return false, ErrAlreadySent
	case StateExpired, StateSuperseded:
		return false, ErrDropped
	case StateFailed:
		return false, d.failure()
	}
	if err := d.leased(now); err != nil {
		return false, err
	}
	if repeat = d.LeaseUntil != nil; repeat {
		if d.Resends >= MaxResends {
			d.end(StateFailed, ErrAmbiguous.ErrorClass(), now)
			return false, ErrAmbiguous
		}
		d.Resends++
	}
	until := now.Add(lease)
	d.LeaseUntil = &until
	d.UpdatedAt = now
	d.Attempts++
	return repeat, nil
}

// leased returns a *BusyError while a try holds the mail.
func (d *Delivery) leased(now time.Time) error {
	if d.LeaseUntil == nil || !now.Before(*d.LeaseUntil) {
		return nil
	}
	return &BusyError{Wait: d.LeaseUntil.Sub(now)}
}

// Holds reports whether the try with this number still owns the mail. It does not once its lease has ended and another
// try has claimed, accepted or dropped the mail: its outcome must not overwrite theirs.
func (d *Delivery) Holds(attempt int) bool { return d.State == StateSending && d.Attempts == attempt }

// Accept records the server's 250, whichever try holds the mail by now.
func (d *Delivery) Accept(now time.Time) { d.end(StateAccepted, "", now) }

// Fail ends a try for good. Its class is ErrAmbiguous' when it is unknown whether the mail was sent, and ErrInvalid's
// when it cannot be sent.
func (d *Delivery) Fail(class string, now time.Time) { d.end(StateFailed, class, now) }

// GiveUp fails a mail whose event will not be delivered again, for the reason its handler ended with, in the vocabulary
// of internal/event. An entry that has ended stays as it is. GiveUp returns *BusyError while a try is under way, which
// may still send the mail.
func (d *Delivery) GiveUp(reason string, now time.Time) error {
	if d.State != StateSending {
		return nil
	}
	if err := d.leased(now); err != nil {
		return err
	}
	d.end(StateFailed, givenUp+reason, now)
	return nil
}

// givenUp begins the error class of a mail that was given up.
const givenUp = "given_up_"

// Release ends a try that sent nothing. The next one is not a repeat.
func (d *Delivery) Release(class string, now time.Time) { d.end(StateSending, class, now) }

// Doubt ends a try that may have sent the mail. The next Claim is a repeat.
func (d *Delivery) Doubt(class string, now time.Time) {
	d.end(StateSending, class, now)
	d.LeaseUntil = &now
}

// Drop records why the mail is not sent and reports whether the entry changed. A mail that is accepted, dropped or held
// by a try stays as it is.
func (d *Delivery) Drop(state State, now time.Time) bool {
	switch d.State {
	case StateAccepted, StateExpired, StateSuperseded:
		return false
	}
	if d.leased(now) != nil {
		return false
	}
	d.end(state, "", now)
	return true
}

// failure returns why a failed mail was not sent.
func (d *Delivery) failure() error {
	switch d.ErrorClass {
	case ErrAmbiguous.ErrorClass():
		return ErrAmbiguous
	case ErrInvalid.ErrorClass():
		return ErrInvalid
	}
	if reason, ok := strings.CutPrefix(d.ErrorClass, givenUp); ok {
		return &SendError{Class: ClassGivenUp, Where: reason}
	}
	return &SendError{Class: ClassRejected, Where: d.ErrorClass}
}

func (d *Delivery) end(state State, class string, now time.Time) {
	d.State = state
	d.LeaseUntil = nil
	d.ErrorClass = class
	d.UpdatedAt = now
}
