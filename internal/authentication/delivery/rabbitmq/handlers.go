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
	SendReset(ctx context.Context, eventID string, d event.PasswordResetRequested) error
}

// Notices sends notices to the owners of accounts. Its errors are in the vocabulary of [event].
type Notices interface {
	SendAccountExists(ctx context.Context, eventID string, d event.AccountExistsMail) error
}

// SendCode returns the handler of email.verification.requested.
func SendCode(m CodeMail) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.VerificationRequested) error {
		return m.Send(ctx, e.ID, d)
	})
}

// SendReset returns the handler of email.password_reset.requested.
func SendReset(m CodeMail) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.PasswordResetRequested) error {
		return m.SendReset(ctx, e.ID, d)
	})
}

// SendAccountExists returns the handler of email.account_exists.requested.
func SendAccountExists(n Notices) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.AccountExistsMail) error {
		return n.SendAccountExists(ctx, e.ID, d)
	})
}
