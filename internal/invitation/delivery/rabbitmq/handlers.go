// Package rabbitmq hands the events of invitations to their use case. It knows no broker: the in-process one runs the
// same handler.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// MailSender sends the mail of an invitation. Its errors are in the vocabulary of [event].
type MailSender interface {
	Send(ctx context.Context, eventID string, d event.InvitationMail) error
}

// SendMail returns the handler of invitation.requested.
func SendMail(m MailSender) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.InvitationMail) error {
		return m.Send(ctx, e.ID, d)
	})
}
