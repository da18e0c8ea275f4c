package notification

import (
	"errors"
	"strings"
	"time"
)

// What [Delivery.Claim] returns when the mail must not be sent.
var (
	ErrAlreadySent = errors.New("notification: the mail has already been accepted")
	ErrDropped     = errors.New("notification: the mail has already been dropped")
	ErrAmbiguous   = &SendError{Class: ClassAmbiguous, Where: "ambiguous"}
	ErrInvalid     = &SendError{Class: ClassInvalid, Where: "invalid"}
)

// BusyError reports that a try holds the mail, or that the mail waits for its repeat, until Wait is over.
type BusyError struct{ Wait time.Duration }

// Error names no mail: the caller does.
func (e *BusyError) Error() string {
	return "notification: the mail is being sent, or waits before it is repeated"
}

// Class says what a failed try means for the mail.
type Class string

// The classes.
const (
	ClassTemporary Class = "temporary" // not sent; another try of this mail can succeed
	ClassBlocked   Class = "blocked"   // not sent; the mail server cannot be reached or refuses this service, whatever the mail
	ClassRejected  Class = "rejected"  // not sent; the mail server refused it for good
	ClassInvalid   Class = "invalid"   // not sent; an address or the content is unusable, no server was asked
	ClassAmbiguous Class = "ambiguous" // it is unknown whether it was sent
	ClassGivenUp   Class = "given_up"  // its event was, for the reason Where; the ledger's, never a Mailer's
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

// Unwrap returns the mailer's own error.
func (e *SendError) Unwrap() error { return e.Err }

// ErrorClass returns Where, for metrics and headers.
func (e *SendError) ErrorClass() string { return e.Where }

// Refused reports whether a server has replied with a 5xx.
func (e *SendError) Refused() bool {
	code := e.Where[strings.LastIndexByte(e.Where, '_')+1:]
	return len(code) == 3 && code[0] == '5'
}
