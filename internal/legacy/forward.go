package legacy

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// Copy is a legacy copy as it was received.
type Copy struct {
	EventID   string    // empty: the previous release published it, which gave its mails none
	ExpiresAt time.Time // from then on the mail is of no use; zero: unknown
	Mail
}

// Forwarder sends the mail of a legacy copy as it stands. Its errors are a handler's: see event.Decide.
type Forwarder interface {
	Forward(ctx context.Context, c Copy) error
}

// Forward returns the handler of legacy copies. One that cannot be read, has no recipient or has attachments is
// dead-lettered with the reason, and not handed to f.
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
