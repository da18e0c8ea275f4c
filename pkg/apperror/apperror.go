// Package apperror owns the error model of the service: a few kinds, a numeric code for the client and a sentence that
// a user can act on. Choose the kind where the rule breaks; pkg/httpserver maps it to a status in one function.
//
// It does not promise that every error is an [Error]: any other counts as [Internal], and its text is never shown to a
// client.
package apperror

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Kind classifies an error in terms that every transport understands.
type Kind string

// The kinds. HTTP maps them one to one: 400, 401, 403, 404, 409, 429, 503, 500.
const (
	Invalid      Kind = "invalid"      // the request breaks a rule; repeating it unchanged will not help
	Unauthorized Kind = "unauthorized" // the caller is unknown or not proven
	Forbidden    Kind = "forbidden"    // the caller is known and not allowed
	NotFound     Kind = "not_found"    // it does not exist, or not for this caller
	Conflict     Kind = "conflict"     // its state does not allow this
	RateLimited  Kind = "rate_limited" // too often; later will help
	Unavailable  Kind = "unavailable"  // a dependency is down; later will help
	Internal     Kind = "internal"     // a defect of the service; nothing about it is shown
)

// Error is an error that may be shown to a client. Values are immutable: the With methods return a copy, so that a
// package-level sentinel can be enriched per request and is still found by [errors.Is].
type Error struct {
	Kind    Kind
	Code    int               // the client's error_code (docs/compatibility.md); unique per sentinel
	Message string            // shown to users; never contains a secret or personal data
	Fields  map[string]string // the problem of each request field; nil when no field is at fault
	After   time.Duration     // when to try again, of RateLimited and Unavailable; 0: not said
	cause   error             // for logs only
}

// New returns a sentinel.
func New(kind Kind, code int, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// Error returns message and cause, for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.cause)
	}
	return e.Message
}

// Unwrap returns the cause, nil when there is none.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is the sentinel that e was copied from, or another copy of it.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Code == e.Code
}

// WithCause returns a copy that carries cause for the log.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithFields returns a copy that names the request fields at fault.
func (e *Error) WithFields(fields map[string]string) *Error {
	c := *e
	c.Fields = maps.Clone(fields)
	return &c
}

// WithAfter returns a copy that says when to try again.
func (e *Error) WithAfter(after time.Duration) *Error {
	c := *e
	c.After = after
	return &c
}

// From returns the *Error in err's chain, or an [Internal] one (code 500) with err as its cause.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return New(Internal, 500, "Internal server error").WithCause(err)
}

// KindOf returns the kind of err, and [Internal] when there is no *Error in its chain.
func KindOf(err error) Kind { return From(err).Kind }
