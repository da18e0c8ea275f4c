package fanout

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// Render writes the mail of a verification code in the recipient's language, as of now. It is the renderer of the topic
// path. It answers an error, which must not quote the code, when there is no such mail to be written: the code is dead
// at now.
type Render func(locale, code string, now, expiresAt time.Time) (subject, html string, err error)

// letter is a mail with what its event says about it.
type letter struct {
	eventID   string
	expiresAt time.Time
	mail      Mail
}

// write answers the mail of m, a topic copy, as of the time its envelope carries. Who commits an event and who receives
// it both start from these bytes, and so write the same mail, however long it lay in a queue. Every error is
// event.Permanent; its class is a Reason constant or classUnrenderable.
func write(ctx context.Context, render Render, m event.Message) (letter, error) {
	var l letter
	err := event.Handle(func(_ context.Context, e event.Received, data event.VerificationRequested) error {
		if e.Time.IsZero() {
			return event.Permanent(event.ReasonInvalid, errors.New("fanout: the envelope lacks a timestamp that can be read"))
		}
		subject, html, err := render(data.Locale, data.OTPCode, e.Time, data.ExpiresAt)
		if err != nil {
			return event.Permanent(event.ReasonInvalid, &unrenderableError{err})
		}
		l = letter{e.ID, data.ExpiresAt, Mail{Subject: subject, Recipient: data.Recipient, Body: html}}
		return nil
	})(ctx, event.Delivery{Message: m})
	return l, err
}

const classUnrenderable = "unrenderable"

// unrenderableError is a Render's error.
type unrenderableError struct{ err error }

func (e *unrenderableError) Error() string {
	return "fanout: the mail cannot be written: " + e.err.Error()
}
func (e *unrenderableError) Unwrap() error { return e.err }

// ErrorClass implements event.Classed.
func (e *unrenderableError) ErrorClass() string { return classUnrenderable }
