package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

// relayCount events, half of them sealed mails and half subscription events, as registrations and verifications
// leave them.
const relayCount = 5_000

// benchRelay measures a full outbox on PostgreSQL through the relay into the broker. Beside it stands what any relay
// must do at least: read a batch, publish it confirmed, delete it in one statement – without lease, sealed bodies,
// attempts or a second relay to be safe from.
func benchRelay(ctx context.Context, s settings, t *tables) error {
	v, remove, err := newVhost(ctx, s)
	if err != nil {
		return err
	}
	defer remove()
	q := benchQueue(1, 1)
	if err := v.declare(ctx, q); err != nil {
		return err
	}
	db, _, drop, err := newDatabase(ctx, s)
	if err != nil {
		return err
	}
	defer drop()
	b := &relayBench{db: db, clock: database.NewClock(db)}
	if b.sealer, err = outbox.NewSealer(bytes.Repeat([]byte{7}, 32)); err != nil {
		return err
	}
	publisher, stop := v.publisher(q)
	defer stop()
	b.sender = publisher
	if err := eventually(ctx, func() (bool, error) { _, err := publisher.Check(ctx); return err == nil, nil }); err != nil {
		return err
	}
	ch, err := v.channel(true)
	if err != nil {
		return err
	}
	return comparison{
		what: "relay, outbox on PostgreSQL to a quorum queue", n: relayCount,
		prepare: b.fill,
		ours:    timed(b.ours),
		bare:    timed(func(ctx context.Context) error { return b.bare(ctx, ch) }),
		verify: func(ctx context.Context) error {
			return errors.Join(b.assertEmpty(ctx), v.holds(ctx, q.Name, relayCount, 0))
		},
	}.interleave(ctx, s, t)
}

type relayBench struct {
	db     *database.DB
	clock  *database.Clock
	sealer *outbox.Sealer
	sender event.Sender
}

// fill writes the outbox through the publisher of the use cases, a thousand events per transaction.
func (b *relayBench) fill(ctx context.Context) error {
	if _, err := b.db.Conn(ctx).ExecContext(ctx, "TRUNCATE outbox"); err != nil {
		return err
	}
	if err := b.clock.Sync(ctx); err != nil {
		return err
	}
	publisher := outbox.NewPublisher(b.db, b.sealer, b.clock, func() {})
	for done := 0; done < relayCount; done += 1000 {
		err := b.db.WithinTx(ctx, func(ctx context.Context) error {
			for i := range 1000 {
				e := subscriptionCreated()
				if i%2 == 0 {
					e = verificationRequested()
				}
				if err := publisher.Publish(ctx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	_, err := b.db.Conn(ctx).ExecContext(ctx, "ANALYZE outbox")
	return err
}

func verificationRequested() event.Event {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return event.Event{
		ID: event.NewID(), Key: event.EmailVerificationRequested, Time: now,
		Data: event.VerificationRequested{
			UserID: uuid.NewString(), Recipient: "person@example.com", OTPCode: "123456", Locale: "en",
			ExpiresAt: now.Add(10 * time.Minute),
		},
	}
}

func (b *relayBench) assertEmpty(ctx context.Context) error {
	depth, err := outbox.ReadDepth(ctx, b.db, b.clock.Now())
	if err == nil && depth.Rows+depth.Failed > 0 {
		err = fmt.Errorf("%d rows are still in the outbox", depth.Rows+depth.Failed)
	}
	return err
}

// ours runs a relay until its last row is confirmed and deleted.
func (b *relayBench) ours(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	observer := &countPublished{cancel: cancel}
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	return outbox.NewRelay(b.db, b.sealer, b.clock, b.sender, observer, batch, log).Run(ctx)
}

// countPublished ends the relay with its last event: Run then still deletes the batch.
type countPublished struct {
	n      atomic.Int64
	cancel func()
}

func (c *countPublished) Published(event.Message, time.Duration) {
	if c.n.Add(1) == relayCount {
		c.cancel()
	}
}

func (c *countPublished) Failed(event.Message, string, bool) {}

func (b *relayBench) bare(ctx context.Context, ch *amqp.Channel) error {
	for {
		ids, publishings, err := b.read(ctx)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := publishBare(ch, publishings, window); err != nil {
			return err
		}
		if _, err := b.db.Conn(ctx).ExecContext(ctx, "DELETE FROM outbox WHERE id = ANY($1)", ids); err != nil {
			return err
		}
	}
}

// read answers the oldest rows; sealed bodies stay sealed.
func (b *relayBench) read(ctx context.Context) (ids []string, publishings []amqp.Publishing, err error) {
	rows, err := b.db.Conn(ctx).QueryContext(ctx, `
		SELECT id, event_id, routing_key, content_type, headers, body, event_time FROM outbox
		ORDER BY available_at, id LIMIT $1`, batch)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var m event.Message
		var headers sql.RawBytes
		if err := rows.Scan(&id, &m.ID, &m.RoutingKey, &m.ContentType, &headers, &m.Body, &m.Timestamp); err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(headers, &m.Headers); err != nil {
			return nil, nil, err
		}
		ids, publishings = append(ids, id), append(publishings, publishing(m))
	}
	return ids, publishings, rows.Err()
}
