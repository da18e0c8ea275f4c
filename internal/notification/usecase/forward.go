package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Forwarded is a mail that was written elsewhere and is sent as it stands.
type Forwarded struct {
	EventID   string // empty: a copy of the previous release, which nothing tells from its repeats
	Recipient string
	Cc        []string // optional; notification.Mail says what a refusal of one means
	ReplyTo   string   // optional
	Subject   string
	HTML      string
	ExpiresAt time.Time // zero: not known, never too late
}

// Forward sends a mail that is still of use, and drops one that is not. A recipient or a content that cannot be sent is
// Permanent (invalid).
//
// With an EventID the mail passes through the ledger, like every other. Without one there is nothing to keep an entry
// under, and what Forward promises is less: a mail that is handed out twice is sent twice, and so is one whose process
// dies between the server's 250 and the ack. What failed is answered as always, and tried again under the id that
// event.Message.Moved gives it; from then on the ledger knows it.
func (s *Sender) Forward(ctx context.Context, f Forwarded) error {
	mail := notification.Mail{
		To: f.Recipient, Cc: f.Cc, ReplyTo: f.ReplyTo, Content: notification.Content{Subject: f.Subject, HTML: f.HTML},
	}
	expired := !f.ExpiresAt.IsZero() && !s.Clock.Now().Before(f.ExpiresAt)
	switch {
	case expired && f.EventID == "":
		s.Observer.MailDropped(notification.StateExpired)
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
		// Repeated, as the policy is, and counted here: the ledger will take the next try for the first. It allows one
		// repeat more, so this mail, alone of all, can go out three times before a person decides, with every repeat counted.
		s.Observer.MailRepeated()
		return failure
	default:
		return permanent(failure)
	}
}
