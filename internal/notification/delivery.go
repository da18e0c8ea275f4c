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
	StateFailed     State = "failed"     // refused for good, ambiguous to the end, or given up
	StateExpired    State = "expired"    // what it carries expired before it could be sent
	StateSuperseded State = "superseded" // a newer mail has replaced it
)

// How often a mail is repeated although the server may have accepted it before. No protocol closes that window
// (RFC 1047). A code that arrives twice harms nobody, and one that never arrives costs a registration; of any other mail
// a second repeat is an operator's decision.
const (
	MaxResends     = 1
	MaxCodeResends = 2
)

// A repeat waits long enough for a relay to restart, because what cut one conversation cuts the next as well.
const (
	firstRepeatAfter = 30 * time.Second
	nextRepeatAfter  = 2 * time.Minute
)

// Delivery is the ledger's entry for one mail, keyed by the event that asked for it. It decides whether the mail may be
// sent now.
type Delivery struct {
	EventID    string
	State      State
	LeaseUntil *time.Time // in StateSending: no other try begins before; nil: nothing is known to have left
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
// reached the server, which may be so for at most maxResends tries.
//
// Claim returns ErrAlreadySent, ErrDropped or *BusyError where there is nothing to do, and ErrAmbiguous where the last
// repeat has vanished; the entry is then failed. A failed entry returns its reason as *SendError: its event comes again
// when it could not be moved to the dead letters, and that is no request to send it. A lost entry is claimed like one
// that is being sent: its event has come back after all.
func (d *Delivery) Claim(now time.Time, lease time.Duration, maxResends int) (repeat bool, err error) {
	switch d.State {
	case StateAccepted:
		return false, ErrAlreadySent
	case StateExpired, StateSuperseded:
		return false, ErrDropped
	case StateFailed:
		if d.ErrorClass != ClassLost {
			return false, d.failure()
		}
	}
	if err := d.leased(now); err != nil {
		return false, err
	}
	if repeat = d.LeaseUntil != nil; repeat {
		if d.Resends >= maxResends {
			d.end(StateFailed, ErrAmbiguous.ErrorClass(), now)
			return false, ErrAmbiguous
		}
		d.Resends++
	}
	d.State = StateSending
	d.Attempts++
	d.lease(now, lease)
	return repeat, nil
}

// Renew lets the try with this number go on until now+lease and reports whether it may. It may not once another try has
// claimed or ended the mail.
func (d *Delivery) Renew(attempt int, now time.Time, lease time.Duration) bool {
	if !d.Holds(attempt) {
		return d.State == StateAccepted
	}
	d.lease(now, lease)
	return true
}

func (d *Delivery) lease(now time.Time, lease time.Duration) {
	until := now.Add(lease)
	d.LeaseUntil = &until
	d.UpdatedAt = now
}

// leased returns a *BusyError while a try holds the mail, or while it waits for its repeat.
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

// ClassLost is the error class of a mail whose event has not come back: its message is gone, or has waited for days.
const ClassLost = "lost"

// givenUp begins the error class of a mail that was given up.
const givenUp = "given_up_"

// Release ends a try that sent nothing. The next one is not a repeat.
func (d *Delivery) Release(class string, now time.Time) { d.end(StateSending, class, now) }

// Doubt ends a try that may have sent the mail, and returns how long the repeat has to wait. The next Claim is one.
func (d *Delivery) Doubt(class string, now time.Time) (wait time.Duration) {
	wait = firstRepeatAfter
	if d.Resends > 0 {
		wait = nextRepeatAfter
	}
	d.end(StateSending, class, now)
	d.lease(now, wait)
	return wait
}

// Drop records why the mail is not sent, or not again, and reports whether the entry changed. One that is accepted or
// dropped stays as it is. Drop returns *BusyError while a try is under way or may be repeated: the mail has not ended.
func (d *Delivery) Drop(state State, now time.Time) (changed bool, err error) {
	switch d.State {
	case StateAccepted, StateExpired, StateSuperseded:
		return false, nil
	}
	if err := d.leased(now); err != nil {
		return false, err
	}
	class := ""
	if d.State == StateFailed {
		class = d.ErrorClass
	} else if d.doubtful() {
		class = ErrAmbiguous.ErrorClass()
	}
	d.end(state, class, now)
	return true, nil
}

// doubtful reports whether a try may have sent the mail without knowing.
func (d *Delivery) doubtful() bool { return d.LeaseUntil != nil || d.Resends > 0 }

// NeverLeft reports whether the mail has expired and no server can have had it or refused it for good.
func (d *Delivery) NeverLeft() bool {
	return d.State == StateExpired && d.ErrorClass == "" && !d.doubtful()
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
