package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// mostOnServers is how many open projects and dead letters a service has at most, however many rows it has.
const mostOnServers = 100_000

// growTo lets every table that grows have n rows, and the other servers n things as well, up to mostOnServers.
func (g *grown) growTo(ctx context.Context, n int) error {
	if err := schematest.Grow(ctx, g.DB, g.rows, n, g.sealer.KeyIDs()[0]); err != nil {
		return err
	}
	from, to := min(g.rows, mostOnServers), min(n, mostOnServers)
	if err := g.openProjects(ctx, from, to); err != nil {
		return err
	}
	g.rows = n
	return g.die(ctx, to-from)
}

// openProjects leaves projects open that nobody has touched for long.
func (g *grown) openProjects(ctx context.Context, from, to int) error {
	pipe := g.Redis.Pipeline()
	for i := from; i < to; i++ {
		id := "proj_" + strconv.Itoa(i)
		pipe.HSet(ctx, redisdb.Key(id), "status", "PROCESSING", "total", 100, "done", 10, "errors", 0)
		pipe.Expire(ctx, redisdb.Key(id), 7*24*time.Hour)
		pipe.Do(ctx, "ZADD", redisdb.OpenKey, i, id)
		if pipe.Len() > 3000 || i == to-1 {
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// die brings n more letters into the dead queue of mails.
func (g *grown) die(ctx context.Context, n int) error {
	return g.OnBroker(ctx, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		var last *amqp.DeferredConfirmation
		for range n {
			now := time.Now().UTC()
			m, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", app.EmailQueue+".dead", true, false, amqp.Publishing{
				MessageId: event.NewID(), ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: now,
				Headers: amqp.Table{
					event.HeaderRoutingKey: string(event.EmailVerificationRequested), event.HeaderAttempts: "5", event.HeaderError: "smtp_rcpt_550",
					event.HeaderDeadReason: event.ReasonExhausted, event.HeaderDeadAt: now.Format(time.RFC3339),
				},
				Body: make([]byte, 600),
			})
			if err != nil {
				return err
			}
			last = m
		}
		if last != nil {
			if acked, err := last.WaitContext(ctx); err != nil || !acked {
				return fmt.Errorf("a dead letter was not confirmed: %w", err)
			}
		}
		return nil
	})
}

// declare declares the queues of the consumer, of which no process works.
func (g *grown) declare(ctx context.Context) (err error) {
	conn, err := rabbitconn.Dial(ctx, g.BrokerOptions("topology"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = rabbitmq.NewTopology(app.Queues(g.cfg)).Declare(conn)
	return err
}
