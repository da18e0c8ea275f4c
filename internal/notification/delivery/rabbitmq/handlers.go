// Package rabbitmq has the handlers of the events that ask for a mail and for nothing else. Other mails, such as
// those with a code, are requested by the domain that owns what they carry.
//
// It knows no broker: the in-process one runs the same handlers.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// Sender sends the mails. Its errors are in the vocabulary of internal/event.
type Sender interface {
	SendProjectCompleted(ctx context.Context, eventID string, d event.ProjectCompletedMail) error
	SendTrialEnding(ctx context.Context, eventID string, d event.TrialEndingMail) error
	SendSecurityNotice(ctx context.Context, eventID string, d event.SecurityNotice) error
}

// SendProjectCompleted returns the handler of email.project_completed.requested.
func SendProjectCompleted(s Sender) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.ProjectCompletedMail) error {
		return s.SendProjectCompleted(ctx, e.ID, d)
	})
}

// SendTrialEnding returns the handler of email.trial_ending.requested.
func SendTrialEnding(s Sender) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.TrialEndingMail) error {
		return s.SendTrialEnding(ctx, e.ID, d)
	})
}

// SendSecurityNotice returns the handler of email.security_notice.requested.
func SendSecurityNotice(s Sender) event.Handler {
	return event.Handle(func(ctx context.Context, e event.Received, d event.SecurityNotice) error {
		return s.SendSecurityNotice(ctx, e.ID, d)
	})
}
