package notification

import (
	"strings"
	"time"
)

// State of a mail in the ledger.
type State string

// The states. The first three are open, in the sense of [State.Open]; all others are final, StateFailed until an operator
// replays the event.
const (
	StateOwed       State = "owed"   // its event is committed, and no try has begun
	StateLegacy     State = "legacy" // left to the previous release's consumer, which keeps no ledger; nothing is owed
	StateSending    State = "sending"
	StateAccepted   State = "accepted"   // the server replied 250
	StateFailed     State = "failed"     // refused for good, ambiguous to the end, or given up
	StateExpired    State = "expired"    // what it carries expired before it could be sent
	StateSuperseded State = "superseded" // a newer mail has replaced it
)

// Open reports whether the mail has not ended.
func (s State) Open() bool { return s == StateOwed || s == StateSending || s == StateLegacy }

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

// KindWritten is the kind of a mail that comes written, from a process of the previous release.
const KindWritten = "written"

// Delivery is the ledger's entry for one mail, keyed by the event that asked for it. It decides whether the mail may be
// sent now.
type Delivery struct {
	EventID    string
	Kind       string // what the mail says, as in the routing key of its event: "verification"; empty: not known
	Recipient  []byte // see [RecipientKey]; nil: not known
	State      State
	LeaseUntil *time.Time // in StateSending: no other try begins before; nil: nothing is known to have left
	Attempts   int
	Resends    int
	MessageID  string // empty until the first try
	ErrorClass string
	DueAt      time.Time // when the mail may leave at the earliest; zero: CreatedAt
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// NewOwed returns the entry of a mail whose event is committed together with it. due is when it may leave at the
// earliest; times up to now count as now.
func NewOwed(eventID, kind string, recipient []byte, now, due time.Time) Delivery {
	d := Delivery{EventID: eventID, Kind: kind, Recipient: recipient, State: StateOwed, CreatedAt: now, UpdatedAt: now}
	if due.After(now) {
		d.DueAt = due
	}
	return d
}

// NewDelivery returns the entry of a mail whose event was committed without one, before its first try.
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
	if !d.State.Open() {
		return nil
	}
	if err := d.leased(now); err != nil {
		return err
	}
	d.end(StateFailed, GivenUp+reason, now)
	return nil
}

// ClassLost is the error class of a mail whose event has not come back: its message is gone, or has waited for days.
const ClassLost = "lost"

// GivenUp begins the error class of a mail whose event was given up; behind it comes the reason.
const GivenUp = "given_up_"

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
	if reason, ok := strings.CutPrefix(d.ErrorClass, GivenUp); ok {
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
