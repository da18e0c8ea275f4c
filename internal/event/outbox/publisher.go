package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// Clock tells the database's time.
type Clock interface{ Now() time.Time }

// Publisher implements event.Publisher by inserting rows into the transaction of the context.
type Publisher struct {
	db     *database.DB
	sealer *Sealer
	clock  Clock
	wake   func()
}

// NewPublisher answers a Publisher. wake is called after each commit that left rows: it nudges the relay of this
// process, so that nobody waits for its poll. A NOTIFY in the transaction would cost more than half of the inserts'
// throughput (oban#956).
func NewPublisher(db *database.DB, sealer *Sealer, clock Clock, wake func()) *Publisher {
	return &Publisher{db: db, sealer: sealer, clock: clock, wake: wake}
}

// Publish stores e as a row of ctx's transaction, with the trace of ctx in its headers. It answers
// database.ErrNoTx when there is no transaction, and the errors of event.Encode.
func (p *Publisher) Publish(ctx context.Context, e event.Event) error {
	tx, err := p.db.Tx(ctx)
	if err != nil {
		return err
	}
	m, err := event.Encode(e)
	if err != nil {
		return err
	}
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(m.Headers))
	now := p.clock.Now()
	r := row{id: uuid.Must(uuid.NewV7()).String(), message: m, createdAt: now, availableAt: now}
	if e.Key.IsEmail() {
		r.sealed, r.message.Body = true, p.sealer.seal(m.ID, m.Body)
	}
	if err := insert(ctx, tx, r); err != nil {
		return fmt.Errorf("outbox: storing %s: %w", e.Key, err)
	}
	p.db.AfterCommit(ctx, p.wake)
	return nil
}
