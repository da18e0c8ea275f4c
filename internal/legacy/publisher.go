package legacy

import (
	"context"
	"fmt"
	"maps"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// Clock returns the database's time.
type Clock interface{ Now() time.Time }

// Sealer encrypts the bodies of rows while they lie in the database, the event id bound in.
type Sealer interface {
	Seal(eventID string, body []byte) []byte
	Open(eventID string, sealed []byte) ([]byte, error)
	KeyID() string
	KeyIDs() []string
}

// PublisherDeps are what a Publisher needs; all are required.
type PublisherDeps struct {
	Phase   Phase
	Next    event.Publisher // the way to the topic, and nowhere else
	DB      *database.DB
	Clock   Clock
	Sealer  Sealer
	Render  Render
	Digests Digests
	Wake    func() // called after each commit that left legacy copies
}

// Publisher is an event.Publisher that decides in which copies a mail with a code is committed, and thereby who sends
// it. Every other event passes through to the topic.
type Publisher struct{ deps PublisherDeps }

// NewPublisher returns the Publisher of a process in d.Phase.
func NewPublisher(d PublisherDeps) *Publisher { return &Publisher{d} }

// Publish stores the copies of events in the transaction of ctx. Beside the errors of the Publisher it decorates it
// returns event.Permanent when the mail of a legacy copy cannot be written. After an error there can be one copy
// without the other: the transaction has to be rolled back, as after every error.
func (p *Publisher) Publish(ctx context.Context, events ...event.Event) error {
	if !p.deps.Phase.Fanout() {
		return p.deps.Next.Publish(ctx, events...)
	}
	topic := make([]event.Event, 0, len(events))
	for _, e := range events {
		if p.deps.Phase.Leaves(e.Key) {
			stamp, err := p.storeCopy(ctx, e)
			if err != nil {
				return err
			}
			if !p.deps.Phase.Topic() {
				continue
			}
			e.Headers = stamp
		}
		topic = append(topic, e)
	}
	if len(topic) == 0 {
		return nil
	}
	return p.deps.Next.Publish(ctx, topic...)
}

// storeCopy stores the legacy copy of e, and returns the headers that stamp its topic copy. While pods of the previous
// release serve, the code is also written where they look for it.
func (p *Publisher) storeCopy(ctx context.Context, e event.Event) (stamp map[string]string, err error) {
	tx, err := p.deps.DB.Tx(ctx)
	if err != nil {
		return nil, err
	}
	topic, err := event.Encode(e) // also where there is no topic copy: one phase is as strict as the other
	if err != nil {
		return nil, err
	}
	l, err := write(ctx, p.deps.Render, topic)
	if err != nil {
		return nil, err
	}
	m, err := l.encode(e.Time)
	if err != nil {
		return nil, err
	}
	if p.deps.Phase.Mixed() {
		if err := saveDigits(ctx, tx, e.ID, l.data); err != nil {
			return nil, err
		}
	}
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(m.Headers))
	if err := m.Check(event.MinFrame); err != nil {
		return nil, fmt.Errorf("legacy: the copy of %s: %w", e.Key, err)
	}
	if err := insert(ctx, tx, p.deps.Sealer, m, p.deps.Clock.Now()); err != nil {
		return nil, fmt.Errorf("legacy: storing the copy of %s: %w", e.ID, err)
	}
	p.deps.DB.AfterCommit(ctx, p.deps.Wake)
	stamp = map[string]string{}
	maps.Copy(stamp, e.Headers)
	stamp[HeaderOwner] = OwnerLegacy
	p.deps.Digests.stamp(stamp, e.ID, l.mail)
	return stamp, nil
}
