package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// The previous release's topology (docs/compatibility.md): both durable and without a single argument, the queue bound
// with an empty routing key. Anything else would be refused to its consumers with 406 PRECONDITION_FAILED.
const (
	Exchange = "smtp_send_email_exc"
	Queue    = "smtp_send_email"
)

// Headers of the migration.
const (
	// HeaderOwner on a topic copy names who sends the mail. Absent: this copy does.
	HeaderOwner = "x-mail-owner"
	OwnerLegacy = "legacy" // the legacy copy of the same event does

	HeaderExpiresAt = "x-expires-at" // on a legacy copy, RFC 3339: from then on the mail is of no use
)

// contentType is what the previous release calls its JSON.
const contentType = "text/plain"

// Mail is the body of a legacy copy, keys and order exactly as the previous release wrote them: its consumer knows no
// other spelling.
type Mail struct {
	Subject     string
	Recipient   string
	Body        string // HTML
	ReplyTo     string
	CcAddresses []string          // null when there are none
	Attachments []json.RawMessage // [] when there are none
}

// Render writes the mail of a verification code in the recipient's language, as of now. It is the renderer of the topic
// path. It returns an error, which must not quote the code, when the code has expired at now.
type Render func(locale, code string, now, expiresAt time.Time) (subject, html string, err error)

// letter is a mail with what its event says about it.
type letter struct {
	eventID   string
	expiresAt time.Time
	data      event.VerificationRequested
	mail      Mail
}

// write returns the mail of m, a topic copy, as of the time its envelope carries. The process that commits an event and
// the one that receives it both start from these bytes, and so write the same mail however long it lay in a queue.
// Every error is event.Permanent; its class is a Reason constant or classUnrenderable.
func write(ctx context.Context, render Render, m event.Message) (letter, error) {
	var l letter
	err := event.Handle(func(_ context.Context, e event.Received, data event.VerificationRequested) error {
		if e.Time.IsZero() {
			return event.Permanent(event.ReasonInvalid, errors.New("legacy: the envelope lacks a readable timestamp"))
		}
		subject, html, err := render(data.Locale, data.OTPCode, e.Time, data.ExpiresAt)
		if err != nil {
			return event.Permanent(event.ReasonInvalid, &unrenderableError{err})
		}
		mail := Mail{Subject: subject, Recipient: data.Recipient, Body: html}
		l = letter{eventID: e.ID, expiresAt: data.ExpiresAt, data: data, mail: mail}
		return nil
	})(ctx, event.Delivery{Message: m})
	return l, err
}

const classUnrenderable = "unrenderable"

// unrenderableError is a Render's error.
type unrenderableError struct{ err error }

func (e *unrenderableError) Error() string {
	return "legacy: the mail cannot be rendered: " + e.err.Error()
}
func (e *unrenderableError) Unwrap() error { return e.err }

// ErrorClass implements event.Classed.
func (e *unrenderableError) ErrorClass() string { return classUnrenderable }

// encode returns the legacy copy of l, an event that happened at at.
func (l letter) encode(at time.Time) (event.Message, error) {
	m := l.mail
	m.Attachments = []json.RawMessage{}
	body, err := json.Marshal(m) // which escapes HTML, as the previous release's did
	if err != nil {
		return event.Message{}, fmt.Errorf("legacy: encoding a mail: %w", err)
	}
	if len(body) > event.MaxBody {
		return event.Message{}, fmt.Errorf("%w (a legacy copy has %d bytes)", event.ErrTooLarge, len(body))
	}
	return copyOf(l.eventID, at.UTC().Truncate(time.Second), body, map[string]string{
		HeaderExpiresAt: l.expiresAt.UTC().Format(time.RFC3339Nano),
	}), nil
}

// copyOf returns a legacy copy. All of them have the same address and properties.
func copyOf(eventID string, at time.Time, body []byte, headers map[string]string) event.Message {
	return event.Message{
		ID:          eventID,
		Exchange:    Exchange,
		ContentType: contentType,
		Timestamp:   at,
		Mandatory:   true,
		Headers:     headers,
		Body:        body,
	}
}

// decode reads a legacy copy. What it cannot do without comes back as event.Permanent; no error quotes the body.
func decode(body []byte) (Mail, error) {
	var m Mail
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return Mail{}, event.Permanent(event.ReasonUnreadable,
			errors.New("legacy: the body is not the previous release's mail"))
	case m.Recipient == "":
		return Mail{}, event.Permanent(event.ReasonInvalid, errors.New("legacy: the mail has no Recipient"))
	case len(m.Attachments) > 0:
		// The previous release never sent one, and documented nowhere what one looks like.
		return Mail{}, event.Permanent(event.ReasonInvalid,
			errors.New("legacy: the mail has attachments, which cannot be sent"))
	}
	return m, nil
}
