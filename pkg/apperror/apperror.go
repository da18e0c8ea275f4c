// Package apperror owns the one error model of the service: a few kinds, a numeric code for the client and a
// sentence a person can act on. Decide the kind where the rule breaks; delivery turns it into a status in one place.
//
// It does not promise that every error is one of its own: anything else counts as Internal and its text is
// never shown to a client.
package apperror

import (
	"errors"
	"fmt"
	"maps"
)

// Kind says what went wrong in terms that every transport understands.
type Kind string

// The kinds. Transport maps them one to one (HTTP: 400, 401, 403, 404, 409, 429, 503, 500).
const (
	Invalid      Kind = "invalid"      // the request breaks a rule; repeating it unchanged will not help
	Unauthorized Kind = "unauthorized" // who is asking is not known or not proven
	Forbidden    Kind = "forbidden"    // who is asking is known and may not
	NotFound     Kind = "not_found"    // the thing does not exist, or not for this caller
	Conflict     Kind = "conflict"     // the thing is in a state that does not allow this
	RateLimited  Kind = "rate_limited" // too often; later will help
	Unavailable  Kind = "unavailable"  // a dependency is down; later will help
	Internal     Kind = "internal"     // a fault of ours; nothing about it is shown
)

// Error is an error that may be shown to a client. Values are immutable: With* methods answer a copy, so a
// package-level sentinel can be enriched per request and still be found by errors.Is.
type Error struct {
	Kind    Kind
	Code    int               // the client's error_code (docs/compatibility.md); unique per sentinel
	Message string            // shown to people; never contains a secret or personal data
	Fields  map[string]string // problem per request field, nil when it is not about fields
	cause   error             // for logs only
}

// New makes a sentinel.
func New(kind Kind, code int, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// Error is the text for logs: message and cause.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.cause)
	}
	return e.Message
}

// Unwrap answers the cause, nil when there is none.
func (e *Error) Unwrap() error { return e.cause }

// Is makes every copy of a sentinel match the sentinel.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Code == e.Code
}

// WithCause answers a copy that carries cause for the log.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithFields answers a copy that names the request fields at fault.
func (e *Error) WithFields(fields map[string]string) *Error {
	c := *e
	c.Fields = maps.Clone(fields)
	return &c
}

// From answers the *Error in err's chain, or an Internal one (code 500) that carries err as its cause.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return New(Internal, 500, "Internal server error").WithCause(err)
}

// KindOf answers the kind of err; Internal for every error that is not ours.
func KindOf(err error) Kind { return From(err).Kind }
