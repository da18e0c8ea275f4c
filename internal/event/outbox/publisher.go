package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// Clock returns the database's time.
type Clock interface{ Now() time.Time }

// Publisher implements event.Publisher by inserting rows into the transaction of the context.
type Publisher struct {
	db     *database.DB
	sealer *Sealer
	clock  Clock
	wake   func()
}

// NewPublisher returns a Publisher. wake is called after each commit that left rows: it nudges the relay of this
// process, so that no row waits for its poll. A NOTIFY in the transaction would cost more than half of the inserts'
// throughput (oban#956).
func NewPublisher(db *database.DB, sealer *Sealer, clock Clock, wake func()) *Publisher {
	return &Publisher{db: db, sealer: sealer, clock: clock, wake: wake}
}

// Publish stores events as rows of ctx's transaction, with the trace of ctx in their headers. It returns the errors of
// event.Encode and of Message.Check before anything is stored, and database.ErrNoTx when ctx has no transaction.
func (p *Publisher) Publish(ctx context.Context, events ...event.Event) error {
	rows := make([]row, len(events))
	for i, e := range events {
		m, err := event.Encode(e)
		if err != nil {
			return err
		}
		rows[i] = row{message: m, sealed: e.Key.AsksForMail(), batch: e.Batch, availableAt: e.NotBefore}
	}
	tx, err := p.db.Tx(ctx)
	if err != nil {
		return err
	}
	now := p.clock.Now()
	for i := range rows {
		r := &rows[i]
		propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(r.message.Headers))
		if err := r.message.Check(event.MinFrame); err != nil {
			return fmt.Errorf("outbox: event %s: %w", r.message.RoutingKey, err)
		}
		if r.sealed {
			r.message.Body = p.sealer.Seal(r.message.ID, r.message.Body)
			r.sealKey = p.sealer.KeyID()
		}
		r.id, r.createdAt = uuid.Must(uuid.NewV7()).String(), now
		r.availableAt = r.availableAt.UTC().Truncate(time.Microsecond) // as the clock: SQLite compares times as texts
		if r.availableAt.Before(now) {
			r.availableAt = now
		}
	}
	for part := range slices.Chunk(rows, rowsPerInsert(p.db.Dialect())) {
		if err := insert(ctx, tx, part); err != nil {
			return fmt.Errorf("outbox: storing event %s for %s: %w", part[0].message.ID, part[0].message.Exchange, err)
		}
	}
	p.db.AfterCommit(ctx, p.wake)
	return nil
}
