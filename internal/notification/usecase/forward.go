package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Forwarded is a mail that was rendered elsewhere and is sent unchanged.
type Forwarded struct {
	EventID   string // empty for a copy of the previous release, which cannot be told from its repeats
	Recipient string
	Cc        []string // optional; a refused copy neither stops the mail nor is reported
	ReplyTo   string   // optional
	Subject   string
	HTML      string
	ExpiresAt time.Time // zero: unknown, so the mail never expires
}

// Forward sends a mail that has not expired, and drops one that has. A recipient or a content that cannot be sent is
// Permanent (invalid).
//
// With an EventID the mail goes through the ledger like every other. Without one there is no key for an entry, and
// Forward promises less: a mail that is delivered twice is sent twice, and so is one whose process is killed between
// the server's 250 and the ack. A failure is returned as usual; the retry carries the id that event.Message.Moved
// assigns, and the ledger knows the mail from then on.
func (s *Sender) Forward(ctx context.Context, f Forwarded) error {
	mail := notification.Mail{
		To:      f.Recipient,
		Cc:      f.Cc,
		ReplyTo: f.ReplyTo,
		Content: notification.Content{Subject: f.Subject, HTML: f.HTML},
	}
	expired := !f.ExpiresAt.IsZero() && !s.deps.Clock.Now().Before(f.ExpiresAt)
	switch {
	case expired && f.EventID == "":
		s.deps.Observer.MailDropped(notification.StateExpired)
		return event.Drop(event.DropExpired)
	case expired:
		return s.expire(ctx, f.EventID)
	case f.EventID == "":
		return s.sendUnnamed(ctx, mail)
	default:
		return s.send(ctx, f.EventID, mail)
	}
}

// sendUnnamed sends a mail that has no entry in the ledger.
func (s *Sender) sendUnnamed(ctx context.Context, mail notification.Mail) error {
	failure, err := s.try(ctx, mail, func(context.Context) error { return nil })
	if failure == nil {
		return err
	}
	switch failure.Class {
	case notification.ClassTemporary:
		return failure
	case notification.ClassAmbiguous:
		// The repeat is counted here, because the ledger takes the next try for the first. It allows one repeat more, so
		// only such a mail can go out three times before an operator decides, every repeat counted.
		s.deps.Observer.MailRepeated()
		return failure
	default:
		return permanent(failure)
	}
}
