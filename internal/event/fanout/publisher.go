package fanout

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
)

// Rows is the outbox for copies that are encoded and addressed already. Store takes part in the transaction of ctx, and
// answers an error, storing nothing, when there is none. sealed: the body is encrypted while it lies in the database.
type Rows interface {
	Store(ctx context.Context, m event.Message, sealed bool) error
}

// Publisher implements event.Publisher: it decides in which copies a mail with a code is committed, and thereby who
// sends it. Every other event goes to the topic.
type Publisher struct {
	phase   Phase
	next    event.Publisher
	rows    Rows
	render  Render
	digests Digests
}

// NewPublisher answers the Publisher of a process in phase. next is the way to the topic and nowhere else.
func NewPublisher(phase Phase, next event.Publisher, rows Rows, render Render, digests Digests) *Publisher {
	return &Publisher{phase: phase, next: next, rows: rows, render: render, digests: digests}
}

// Publish stores the copies of events as rows of ctx's transaction. It answers what the event.Publisher it stands for
// does, and event.Permanent when the mail of a fanout copy cannot be written. After an error there can be one copy
// without the other: the transaction has to be rolled back, as after every error.
func (p *Publisher) Publish(ctx context.Context, events ...event.Event) error {
	if !p.phase.Fanout() {
		return p.next.Publish(ctx, events...)
	}
	rest := make([]event.Event, 0, len(events))
	for _, e := range events {
		if e.Key != event.EmailVerificationRequested {
			rest = append(rest, e)
		} else if err := p.publishCopies(ctx, e); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return p.next.Publish(ctx, rest...)
}

// publishCopies stores the copies of a mail that the previous release sent.
func (p *Publisher) publishCopies(ctx context.Context, e event.Event) error {
	topic, err := event.Encode(e) // also where no topic copy is made: one phase is as strict as the other
	if err != nil {
		return err
	}
	l, err := write(ctx, p.render, topic)
	if err != nil {
		return err
	}
	m, err := l.mail.encode(e.ID, e.Time, l.expiresAt)
	if err != nil {
		return err
	}
	if err := p.rows.Store(ctx, m, true); err != nil {
		return err
	}
	if !p.phase.Topic() {
		return nil
	}
	topic.Headers[HeaderOwner] = OwnerLegacy
	p.digests.stamp(topic.Headers, e.ID, l.mail)
	return p.rows.Store(ctx, topic, true)
}
