package notification

import (
	"errors"
	"time"
)

// What the ledger answers instead of letting a mail be sent.
var (
	ErrAlreadySent = errors.New("notification: this mail has been accepted before")
	ErrDropped     = errors.New("notification: this mail has been dropped before")
	ErrAmbiguous   = &SendError{Class: ClassAmbiguous, Where: "ambiguous"}
	ErrInvalid     = &SendError{Class: ClassInvalid, Where: "invalid"}
)

// BusyError says that another process is sending this mail, or died doing it; its lease ends at Until.
type BusyError struct {
	Until time.Time
	Wait  time.Duration
}

// Error names no mail: its caller does.
func (e *BusyError) Error() string { return "notification: somebody else is sending this mail" }

// Class of a failed sending.
type Class string

// The classes.
const (
	ClassTemporary Class = "temporary" // certainly not sent; trying again can help
	ClassRejected  Class = "rejected"  // certainly not sent, the mail server said never; trying again cannot help
	ClassInvalid   Class = "invalid"   // certainly not sent, nobody was asked: an address or the content is unusable
	ClassAmbiguous Class = "ambiguous" // nobody can know whether it was sent
	ClassGivenUp   Class = "given_up"  // its event was, for the reason Where; only the ledger answers it, never a Mailer
)

// SendError is a Mailer's failure. Where is short and free of personal data, such as "smtp_rcpt_550".
type SendError struct {
	Class Class
	Where string
	Err   error
}

// Error is safe to log.
func (e *SendError) Error() string {
	if e.Err == nil {
		return "notification: mail " + string(e.Class) + " failure: " + e.Where
	}
	return "notification: " + e.Err.Error()
}

// Unwrap answers the mailer's own error.
func (e *SendError) Unwrap() error { return e.Err }

// ErrorClass is Where, for metrics and headers.
func (e *SendError) ErrorClass() string { return e.Where }
