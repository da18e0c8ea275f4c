package event

import (
	"errors"
	"fmt"
	"time"
)

// Reasons a message is dead-lettered for, as they appear in the x-dead-reason header, in metrics and in dlq list.
const (
	ReasonUnreadable = "unreadable"  // not a JSON envelope
	ReasonInvalid    = "invalid"     // a field the handler needs is missing or wrong
	ReasonUnknownKey = "unknown_key" // no handler for this routing key
	ReasonRejected   = "rejected"    // refused for good (SMTP 5xx)
	ReasonAmbiguous  = "ambiguous"   // twice unknown whether it was accepted (RFC 1047)
	ReasonExhausted  = "exhausted"   // failed for Policy.GiveUpAfter
	ReasonUnsendable = "unsendable"  // the broker dead-lettered it, because it could not be published to another queue
	ReasonCrashLoop  = "crash_loop"  // handed out CrashLoopLimit times without an ack: it kills its handler
)

// Reasons an event is dropped for: acked without its effect.
const (
	DropDuplicate  = "duplicate"  // the effect has already been had
	DropExpired    = "expired"    // what it carries is no longer of use
	DropSuperseded = "superseded" // something newer has replaced it
	DropStale      = "stale"      // a higher version is already stored
)

// endError is the last word on a delivery.
type endError struct {
	outcome string
	dead    bool // dead-lettered, not acked
	err     error
}

func (e endError) Error() string { return e.err.Error() }
func (e endError) Unwrap() error { return e.err }

// endOf returns what err, a handler's result, says about its delivery. ended is false when it is to be retried.
func endOf(err error) (end endError, ended bool) {
	if err == nil {
		return endError{outcome: Handled}, true
	}
	return errors.AsType[endError](err)
}

// Permanent returns an error that dead-letters the event at once. reason is one of the Reason constants.
func Permanent(reason string, err error) error { return endError{reason, true, err} }

// Drop returns an error that acks the event although its effect was not had, rightly. reason is one of the Drop constants.
func Drop(reason string) error { return endError{reason, false, errors.New("dropped: " + reason)} }

type notYetError struct {
	wait time.Duration
	err  error
}

func (e *notYetError) Error() string { return e.err.Error() }
func (e *notYetError) Unwrap() error { return e.err }

// NotYet returns an error that retries the event after about wait, without counting a failed try: another process is
// working on it.
func NotYet(wait time.Duration, err error) error { return &notYetError{wait, err} }

type blockedError struct {
	err  error
	wait time.Duration // at least, before the next probe
	then afterBlock
}

func (e *blockedError) Error() string { return e.err.Error() }
func (e *blockedError) Unwrap() error { return e.err }

// afterBlock is what becomes of a blocked message.
type afterBlock int

const (
	lastLevel afterBlock = iota // without a lane: it waits on the last retry level
	giveBack                    // its lane is paused: it waits in its queue
	moveAway                    // it has probed for long enough: it goes behind the others
)

// Blocked returns an error that says nothing about the event: what the handler needs refuses this service as a whole.
// It pauses the [Lane]; the event is kept, and no failed try is counted.
func Blocked(err error) error { return BlockedFor(0, err) }

// BlockedFor is [Blocked] for a refusal that will stay for a while: the next probe is not made before wait is over.
func BlockedFor(wait time.Duration, err error) error { return &blockedError{err: err, wait: wait} }

// Classed is implemented by errors with a short class for metrics and headers, such as "smtp_450".
type Classed interface{ ErrorClass() string }

// ErrorClass returns err's class: its own, "panic", or "error".
func ErrorClass(err error) string {
	if c, ok := errors.AsType[interface {
		error
		Classed
	}](err); ok {
		return c.ErrorClass()
	}
	return "error"
}

// PanicError is a handler's panic as an error, which is retried like any other.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// ErrorClass is "panic".
func (e *PanicError) ErrorClass() string { return "panic" }
