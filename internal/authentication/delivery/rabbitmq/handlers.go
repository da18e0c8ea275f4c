// Package rabbitmq hands the authentication events to their use case. It knows no broker: the in-process one runs the
// same handler.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// CodeMail is what the events are told to; its errors are in the vocabulary of internal/event.
type CodeMail interface {
	Send(ctx context.Context, eventID string, d event.VerificationRequested) error
}

// InvitationMail is CodeMail for invitations.
type InvitationMail interface {
	Send(ctx context.Context, eventID string, d event.InvitationRequested) error
}

// SendCode returns the handler of email.verification.requested.
func SendCode(m CodeMail) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.VerificationRequested) error {
		return m.Send(ctx, e.ID, d)
	})
}

// SendInvitation returns the handler of email.invitation.requested.
func SendInvitation(m InvitationMail) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.InvitationRequested) error {
		return m.Send(ctx, e.ID, d)
	})
}
