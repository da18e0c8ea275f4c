package notification

import (
	"strings"
	"time"
)

// State of a mail in the ledger.
type State string

// The states. Sending is the only one that is not final; failed is final until a person has it sent again
// (Ledger.Reopen).
const (
	StateSending    State = "sending"
	StateAccepted   State = "accepted"   // the server said 250
	StateFailed     State = "failed"     // refused for good, twice unknown, or given up
	StateExpired    State = "expired"    // what it carries died before it could be sent
	StateSuperseded State = "superseded" // a newer mail has replaced it
)

// MaxResends is how often a mail is sent again without knowing whether the server took the first: once. Nobody can
// close that window (RFC 1047); a second repeat is a person's decision.
const MaxResends = 1

// Delivery is the ledger's entry for one mail, keyed by the event that asked for it. It answers the one question
// that must not be answered twice: may this mail be sent now?
type Delivery struct {
	EventID    string
	State      State
	LeaseUntil *time.Time // in StateSending: somebody is at it until then; nil: nobody
	Attempts   int
	Resends    int
	MessageID  string
	ErrorClass string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// NewDelivery answers the entry of a mail nobody has tried yet.
func NewDelivery(eventID, messageID string, now time.Time) Delivery {
	return Delivery{EventID: eventID, State: StateSending, MessageID: messageID, CreatedAt: now, UpdatedAt: now}
}

// Take begins a try that ends by itself at now+lease; Attempts is its number. It answers ErrAlreadySent, ErrDropped or
// *BusyError where there is nothing to do, and ErrAmbiguous where a try has vanished without a word and was already
// repeated once; the entry is then failed. A failed one answers why, as *SendError: its event is handed out again when
// the move to the dead letters did not succeed, and that is nobody's wish to send it. repeat tells that this try may
// send what the server already has.
func (d *Delivery) Take(now time.Time, lease time.Duration) (repeat bool, err error) {
	switch d.State {
	case StateAccepted:
		return false, ErrAlreadySent
	case StateExpired, StateSuperseded:
		return false, ErrDropped
	case StateFailed:
		return false, d.failure()
	case StateSending:
		if d.LeaseUntil == nil {
			break
		}
		if now.Before(*d.LeaseUntil) {
			return false, &BusyError{Until: *d.LeaseUntil, Wait: d.LeaseUntil.Sub(now)}
		}
		if d.Resends >= MaxResends {
			d.end(StateFailed, ErrAmbiguous.ErrorClass(), now)
			return false, ErrAmbiguous
		}
		d.Resends++
		repeat = true
	}
	until := now.Add(lease)
	d.State, d.LeaseUntil, d.UpdatedAt = StateSending, &until, now
	d.Attempts++
	return repeat, nil
}

// Holds tells whether the try with this number still speaks for the mail. It does not once its lease ran out and
// somebody else took the mail, accepted or dropped it: what it then has to report must not undo that.
func (d *Delivery) Holds(attempt int) bool { return d.State == StateSending && d.Attempts == attempt }

// Accept records the server's 250, whoever has the mail by now.
func (d *Delivery) Accept(now time.Time) { d.end(StateAccepted, "", now) }

// Fail ends a try for good: with ErrAmbiguous' class when it is not known whether the mail was sent, with ErrInvalid's
// when it cannot be.
func (d *Delivery) Fail(class string, now time.Time) { d.end(StateFailed, class, now) }

// GiveUp fails a mail whose event nobody will hand out again, for the reason its handler ended with, in the vocabulary
// of internal/event. One that has ended already stays what it is; *BusyError says that a try is still under way, which
// may yet send it.
func (d *Delivery) GiveUp(reason string, now time.Time) error {
	switch {
	case d.State != StateSending:
		return nil
	case d.LeaseUntil != nil && now.Before(*d.LeaseUntil):
		return &BusyError{Until: *d.LeaseUntil, Wait: d.LeaseUntil.Sub(now)}
	}
	d.end(StateFailed, givenUp+reason, now)
	return nil
}

// givenUp begins the error class of a mail that did not fail by itself.
const givenUp = "given_up_"

// Release ends a try that certainly did not send anything; the next one is not a repeat.
func (d *Delivery) Release(class string, now time.Time) { d.end(StateSending, class, now) }

// Doubt ends a try that may have sent the mail: the next Take counts as a repeat.
func (d *Delivery) Doubt(class string, now time.Time) {
	d.end(StateSending, class, now)
	d.LeaseUntil = &now
}

// Drop records why the mail is not sent and tells whether that is news. What is accepted, dropped already or being
// sent stays as it is.
func (d *Delivery) Drop(state State, now time.Time) bool {
	switch {
	case d.State == StateAccepted, d.State == StateExpired, d.State == StateSuperseded,
		d.LeaseUntil != nil && now.Before(*d.LeaseUntil):
		return false
	}
	d.end(state, "", now)
	return true
}

// failure answers why a failed mail was not sent.
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
	d.State, d.LeaseUntil, d.ErrorClass, d.UpdatedAt = state, nil, class, now
}
