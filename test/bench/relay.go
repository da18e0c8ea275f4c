package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

// relayCount events, half of them sealed mails and half subscription events, as registrations and verifications
// leave them.
const relayCount = 5_000

// snapshotCount is enough for the deleted rows to outweigh those that are left, many times over.
const snapshotCount = 60_000

// relay measures a full outbox on PostgreSQL through the relay into the broker. Beside it stands the least any relay
// must do: read a chunk, publish it confirmed, delete it in one statement. That has no lease, no sealed bodies, no
// attempts and no second relay to be safe from.
//
// A second row measures the relay while a transaction holds a snapshot, so that no deleted row can be vacuumed, beside
// the relay without one.
func (b *bench) relay(ctx context.Context) error {
	return b.withBroker(ctx, 1, 1, func(br *broker) error {
		own := b.config.Postgres
		own.Database = br.system.Database
		db, err := database.Open(database.Options{Dialect: database.Postgres, DSN: own.DSN()})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // the database is dropped next
		if _, err := schema.Up(ctx, db); err != nil {
			return err
		}
		r := &relayBench{broker: br, db: db, clock: database.NewClock(db)}
		if r.sealer, err = outbox.NewSealer(bytes.Repeat([]byte{7}, 32)); err != nil {
			return err
		}
		r.n = relayCount
		err = b.compare(ctx, comparison{
			what:    "relay, outbox on PostgreSQL to a quorum queue",
			n:       r.n,
			aim:     0.85,
			prepare: r.fill,
			ours:    timed(r.ours),
			bare:    timed(r.publishAndDelete),
			verify:  func(ctx context.Context) error { return errors.Join(r.assertEmpty(ctx), br.holds(ctx, r.n)) },
		})
		if err != nil {
			return err
		}
		r.n = snapshotCount
		return b.compare(ctx, comparison{
			what:    "relay, while a transaction holds a snapshot",
			n:       r.n,
			aim:     0.8,
			prepare: r.fill,
			ours:    r.underSnapshot,
			bare:    timed(r.ours),
			verify:  func(ctx context.Context) error { return errors.Join(r.assertEmpty(ctx), br.holds(ctx, r.n)) },
		})
	})
}

type relayBench struct {
	*broker
	db     *database.DB
	clock  *database.Clock
	sealer *outbox.Sealer
	n      int // rows
}

// fill writes the outbox through the publisher of the use cases, a thousand events per transaction.
func (r *relayBench) fill(ctx context.Context) error {
	_, err := r.db.Conn(ctx).ExecContext(ctx, "TRUNCATE outbox") // and the dead rows of the side before
	if err := errors.Join(err, r.clock.Sync(ctx)); err != nil {
		return err
	}
	publisher := outbox.NewPublisher(r.db, r.sealer, r.clock, func() {})
	for range r.n / 1000 {
		events := make([]event.Event, 0, 1000)
		for range cap(events) / 2 {
			events = append(events, verificationRequested(), subscriptionCreated())
		}
		err := r.db.WithinTx(ctx, func(ctx context.Context) error { return publisher.Publish(ctx, events...) })
		if err != nil {
			return err
		}
	}
	_, err = r.db.Conn(ctx).ExecContext(ctx, "ANALYZE outbox")
	return err
}

func (r *relayBench) assertEmpty(ctx context.Context) error {
	depth, err := outbox.Rows.Depth(ctx, r.db, r.clock.Now())
	if n := depth.Rows + depth.Failed; err == nil && n > 0 {
		err = fmt.Errorf("%d rows are still in the outbox", n)
	}
	return err
}

// underSnapshot runs the same relay beside an open transaction that has read something.
func (r *relayBench) underSnapshot(ctx context.Context) (took time.Duration, err error) {
	tx, err := r.db.Pool().BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
		return 0, err
	}
	return timed(r.ours)(ctx)
}

// ours runs a relay until its last row is confirmed and deleted.
func (r *relayBench) ours(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	observer := &publishedCounter{all: int64(r.n), cancel: cancel}
	return outbox.NewRelay(r.db, r.sealer, r.clock, r.publisher, observer, chunk, warnings).Run(ctx)
}

// publishedCounter ends the relay with its last event: Run then still deletes the chunk.
type publishedCounter struct {
	n      atomic.Int64
	all    int64
	cancel func()
}

func (c *publishedCounter) Published(event.Message, time.Duration) {
	if c.n.Add(1) == c.all {
		c.cancel()
	}
}

func (c *publishedCounter) Failed(event.Message, string, bool) {}

// publishAndDelete is the bare side.
func (r *relayBench) publishAndDelete(ctx context.Context) error {
	for {
		ids, messages, err := r.read(ctx)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := r.publishBare(messages); err != nil {
			return err
		}
		if _, err := r.db.Conn(ctx).ExecContext(ctx, "DELETE FROM outbox WHERE id = ANY($1)", ids); err != nil {
			return err
		}
	}
}

// read returns the oldest rows. Sealed bodies stay sealed.
func (r *relayBench) read(ctx context.Context) (ids []string, messages []amqp.Publishing, err error) {
	rows, err := r.db.Conn(ctx).QueryContext(ctx, `
		SELECT id, event_id, routing_key, content_type, headers, body, event_time FROM outbox
		ORDER BY available_at, id LIMIT $1`, chunk)
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
		ids = append(ids, id)
		messages = append(messages, publishing(m))
	}
	return ids, messages, rows.Err()
}
