package outbox

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// clock is the database's clock, set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// broker is a Sender that keeps what it was sent and returns what the test sets.
type broker struct {
	mu     sync.Mutex
	answer func(event.Message) error // nil: everything is confirmed
	sent   []event.Message
}

func (b *broker) Send(_ context.Context, messages []event.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := make([]error, len(messages))
	for i, m := range messages {
		b.sent = append(b.sent, m)
		if b.answer != nil {
			results[i] = b.answer(m)
		}
	}
	return results
}

func (b *broker) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]string, len(b.sent))
	for i, m := range b.sent {
		ids[i] = m.ID
	}
	return ids
}

// outcomes is an Observer.
type outcomes struct {
	mu   sync.Mutex
	seen []string
}

func (o *outcomes) Published(m event.Message, _ time.Duration) { o.add(m.ID + " published") }

func (o *outcomes) Failed(m event.Message, class string, final bool) {
	o.add(fmt.Sprintf("%s %s final=%t", m.ID, class, final))
}

func (o *outcomes) add(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
}

// office is an outbox with everything around it.
type office struct {
	*testing.T
	db        *database.DB
	clock     *clock
	broker    *broker
	outcomes  *outcomes
	sealer    *Sealer
	publisher *Publisher
	woken     int
}

func open(t *testing.T, db *database.DB) *office {
	t.Helper()
	sealer, err := NewSealer(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	o := &office{
		T: t, db: db, broker: &broker{}, outcomes: &outcomes{}, sealer: sealer,
		clock: &clock{now: time.Date(2026, 1, 31, 9, 30, 0, 123_456_000, time.UTC)},
	}
	o.publisher = NewPublisher(db, sealer, o.clock, func() { o.woken++ })
	return o
}

func (o *office) relay() *Relay {
	return NewRelay(o.db, o.sealer, o.clock, o.broker, o.outcomes, batchSize, zerolog.Nop())
}

const code = "493817"

func (o *office) mail(id string) event.Event {
	return event.Event{ID: id, Key: event.EmailVerificationRequested, Time: o.clock.Now(), Data: event.VerificationRequested{
		UserID: "u1", Recipient: "ann@example.com", OTPCode: code, Locale: "en", ExpiresAt: o.clock.Now().Add(time.Minute),
	}}
}

func (o *office) state(id string) event.Event {
	return event.Event{ID: id, Key: event.SubscriptionCreated, Time: o.clock.Now(), Data: event.SubscriptionCreatedData{
		Version: 1, SubscriptionID: "s1", UserID: "u1", PlanCode: "free", Status: "trialing",
	}}
}

// publish stores events in one transaction, which takes its time for hundreds of them on a busy machine.
func (o *office) publish(events ...event.Event) {
	o.Helper()
	require.NoError(o, o.db.WithTxTimeout(time.Minute).WithinTx(context.Background(), func(ctx context.Context) error {
		for _, e := range events {
			if err := o.publisher.Publish(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (o *office) depth() Depth {
	o.Helper()
	d, err := Rows.Depth(context.Background(), o.db, o.clock.Now())
	require.NoError(o, err)
	return d
}

// step lets a relay do one batch.
func (o *office) step(r *Relay) int {
	o.Helper()
	n, err := r.relay(context.Background(), batchSize)
	require.NoError(o, err)
	return n
}

// rename takes the table away, or brings it back.
func (o *office) rename(from, to string) {
	o.Helper()
	_, err := o.db.Conn(context.Background()).ExecContext(context.Background(), "ALTER TABLE "+from+" RENAME TO "+to)
	require.NoError(o, err)
}

func (o *office) column(eventID, column string) (value []byte) {
	o.Helper()
	require.NoError(o, o.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT "+column+" FROM outbox WHERE event_id = $1", eventID).Scan(&value))
	return value
}
