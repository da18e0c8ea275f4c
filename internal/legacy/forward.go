package legacy

import (
	"cmp"
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Mailer sends a mail that was written elsewhere once per event, unless it has expired; a zero expiresAt is unknown.
// Its errors are a handler's: see event.Decide.
type Mailer interface {
	SendMail(ctx context.Context, eventID string, m notification.Mail, expiresAt time.Time) error
}

// Forward returns the handler of legacy copies, which sends each as it stands. One that cannot be read, has no recipient
// or has attachments is dead-lettered with the reason, and not handed to mailer.
func Forward(mailer Mailer) event.Handler {
	return func(ctx context.Context, d event.Delivery) error {
		m, err := decode(d.Body)
		if err != nil {
			return err
		}
		mail := notification.Mail{
			To:      m.Recipient,
			Cc:      m.CcAddresses,
			ReplyTo: m.ReplyTo,
			Content: notification.Content{Subject: m.Subject, HTML: m.Body},
		}
		// An unreadable time is the zero time: unknown.
		expiresAt, _ := time.Parse(time.RFC3339Nano, d.Headers[HeaderExpiresAt])
		// Only a message that an operator has put into our queue by hand has no id.
		return mailer.SendMail(ctx, cmp.Or(d.ID, event.NewID()), mail, expiresAt.UTC())
	}
}
