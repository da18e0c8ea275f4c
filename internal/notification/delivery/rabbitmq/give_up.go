package rabbitmq

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// Abandoner records in the mail ledger that the mail of an event is given up, and why.
type Abandoner interface {
	GiveUp(ctx context.Context, eventID, reason string) error
}

// GiveUp returns the middleware for keys whose mails others count: before an event is dead-lettered, its mail is given
// up in the ledger, so that the database knows of every mail that was not sent.
func GiveUp(a Abandoner) event.Middleware {
	return event.OnEnd(func(ctx context.Context, d event.Delivery, outcome string, dead bool) error {
		if !dead || d.ID == "" {
			return nil
		}
		return a.GiveUp(ctx, d.ID, outcome)
	})
}
