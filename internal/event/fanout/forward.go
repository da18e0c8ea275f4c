package fanout

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// Copy is a fanout copy as it was received.
type Copy struct {
	EventID   string    // "": the previous release published it, which gave its mails none
	ExpiresAt time.Time // from then on the mail is of no use; zero: not known
	Mail
}

// Forwarder sends the mail of a fanout copy as it stands. Its errors are a handler's: see event.Decide.
type Forwarder interface {
	Forward(ctx context.Context, c Copy) error
}

// Forward answers the handler of fanout copies. One that cannot be read, has no recipient or has attachments is
// dead-lettered with the reason; f does not see it.
func Forward(f Forwarder) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		mail, err := decode(m.Body)
		if err != nil {
			return err
		}
		c := Copy{EventID: m.ID, Mail: mail}
		if t, err := time.Parse(time.RFC3339Nano, m.Headers[HeaderExpiresAt]); err == nil {
			c.ExpiresAt = t.UTC()
		}
		return f.Forward(ctx, c)
	}
}
