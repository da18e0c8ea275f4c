package outbox

import (
	"context"
	"fmt"
	"maps"
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

// Publish stores e as a row of ctx's transaction, with the trace of ctx in its headers. It answers the errors of
// event.Encode, and those of Store.
func (p *Publisher) Publish(ctx context.Context, e event.Event) error {
	m, err := event.Encode(e)
	if err != nil {
		return err
	}
	return p.Store(ctx, m, e.Key.IsEmail())
}

// Store is Publish for one copy that is encoded and addressed already. sealed says whether its body is encrypted while
// it lies in the database: always where it holds a code or an address. It answers database.ErrNoTx, and stores nothing,
// when ctx has no transaction; m is left as it is.
func (p *Publisher) Store(ctx context.Context, m event.Message, sealed bool) error {
	tx, err := p.db.Tx(ctx)
	if err != nil {
		return err
	}
	headers := propagation.MapCarrier{}
	maps.Copy(headers, m.Headers)
	propagation.TraceContext{}.Inject(ctx, headers)
	m.Headers = headers
	if sealed {
		m.Body = p.sealer.seal(m.ID, m.Body)
	}
	now := p.clock.Now()
	r := row{id: uuid.Must(uuid.NewV7()).String(), message: m, sealed: sealed, createdAt: now, availableAt: now}
	if err := insert(ctx, tx, r); err != nil {
		return fmt.Errorf("outbox: storing event %s for %s: %w", m.ID, m.Exchange, err)
	}
	p.db.AfterCommit(ctx, p.wake)
	return nil
}
