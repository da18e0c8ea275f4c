// Package rabbitmq hands the authentication events to their use case. It knows no broker: the in-process one runs the
// same handler.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// CodeMail sends the mail of a code. Its errors are in the vocabulary of [event].
type CodeMail interface {
	Send(ctx context.Context, eventID string, d event.VerificationRequested) error
}

// SendCode returns the handler of email.verification.requested.
func SendCode(m CodeMail) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.VerificationRequested) error {
		return m.Send(ctx, e.ID, d)
	})
}
