// Package rabbitmq hands the events that ask for a mail, and for nothing else, to the sender. It knows no broker: the
// in-process one runs the same handler. Mails that a domain has to judge first, such as those with a code, are asked for
// by that domain's own handlers.
package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// Sender is what the events are told to; its errors are in the vocabulary of internal/event.
type Sender interface {
	SendProjectCompleted(ctx context.Context, eventID string, d event.ProjectCompletedMail) error
}

// Register puts the handler of email.project_completed.requested on r.
func Register(r *event.Router, s Sender) {
	r.On(event.EmailProjectCompletedRequested, event.Handle(
		func(ctx context.Context, e event.Received, d event.ProjectCompletedMail) error {
			return s.SendProjectCompleted(ctx, e.ID, d)
		}))
}
