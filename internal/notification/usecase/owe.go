package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// OwingDeps is what an Owing works with. Everything is required.
type OwingDeps struct {
	Next       event.Publisher
	Ledger     notification.OwedLedger
	Recipients notification.RecipientKey
	Clock      notification.Clock
	// Left reports whether the mails of a key are left to the previous release's consumer.
	Left func(event.RoutingKey) bool
}

// Owing is an event.Publisher that enters each mail in the ledger together with the event that asks for it: from the
// commit on it is known that the mail is owed.
type Owing struct{ deps OwingDeps }

// NewOwing returns a Publisher that decorates d.Next.
func NewOwing(d OwingDeps) *Owing { return &Owing{deps: d} }

// Publish implements event.Publisher.
func (o *Owing) Publish(ctx context.Context, events ...event.Event) error {
	if err := o.deps.Next.Publish(ctx, events...); err != nil {
		return err
	}
	var owed []notification.Delivery
	now := o.deps.Clock.Now()
	for _, e := range events {
		mail, ok := e.Data.(event.MailRequest)
		if !ok {
			continue
		}
		d := notification.NewOwed(e.ID, e.Key.Mail(), o.deps.Recipients.Digest(mail.To()), now, e.NotBefore)
		if o.deps.Left(e.Key) {
			d.State = notification.StateLegacy
		}
		owed = append(owed, d)
	}
	if len(owed) == 0 {
		return nil
	}
	return o.deps.Ledger.Owe(ctx, owed)
}
