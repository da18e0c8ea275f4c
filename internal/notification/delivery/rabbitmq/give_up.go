package rabbitmq

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// Abandoner records in the mail ledger that the mail of an event is given up, and why.
type Abandoner interface {
	GiveUp(ctx context.Context, eventID, reason string) error
}

// GiveUp returns the middleware for keys that ask for a mail: before an event is dead-lettered, its mail is given up in
// the ledger, so that every entry ends, and the database knows of every mail that was not sent.
func GiveUp(a Abandoner) event.Middleware {
	end := event.OnEnd(func(ctx context.Context, d event.Delivery, outcome string, dead bool) error {
		id := cmp.Or(d.Decoded.ID, d.ID) // the handler's, where it ran: the producer may have given the message another
		if !dead || id == "" {
			return nil
		}
		return a.GiveUp(ctx, id, outcome)
	})
	return func(next event.Handler) event.Handler {
		ended := end(next)
		return func(ctx context.Context, d event.Delivery) error {
			if d.Decoded == nil {
				d.Decoded = &event.Received{}
			}
			return ended(ctx, d)
		}
	}
}
