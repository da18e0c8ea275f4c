// Command consumer is a complete consumer of events, for the authors of other services (docs/migration-guide.md).
package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	_ "modernc.org/sqlite" // any database will do, if it is the one that holds the effect
)

const queue = "billing.subscription"

// errPoison marks a message that no retry can help.
var errPoison = errors.New("not a subscription event that can be used")

type event struct {
	ID      string `json:"event_id"`
	Payload struct {
		Data struct {
			Version   int64  `json:"version"`
			UserID    string `json:"user_id"`
			PlanCode  string `json:"plan_code"`
			Status    string `json:"status"`     // of subscription.created
			NewStatus string `json:"new_status"` // of the others
		} `json:"data"`
	} `json:"payload"`
}

func main() {
	db, err := sql.Open("sqlite", "billing.db")
	if err == nil {
		_, err = db.Exec(`CREATE TABLE IF NOT EXISTS seen (event_id text PRIMARY KEY);
			CREATE TABLE IF NOT EXISTS holders (user_id text PRIMARY KEY, version bigint, plan text, status text)`)
	}
	if err != nil {
		log.Fatalf("the database: %v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil { // every connection starts over: topology, channel, consumer
		log.Printf("consuming has ended: %v", consume(ctx, db))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second + rand.N(4*time.Second)):
		}
	}
}

// consume works until ctx or the connection ends, or the database fails. What is not acked by then is redelivered.
func consume(ctx context.Context, db *sql.DB) error {
	conn, err := amqp.Dial(os.Getenv("RABBITMQ_URL"))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := declare(ch); err != nil {
		return err
	}
	if err := ch.Qos(20, 0, false); err != nil { // without it the broker hands out everything at once
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil) // acked by hand
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the connection is lost, or the queue was deleted")
			}
			err := handle(ctx, db, d.Body)
			switch {
			case errors.Is(err, errPoison):
				log.Printf("event %s refused: %v", d.MessageId, err)
				err = d.Nack(false, false) // not requeued: it goes to the dead queue
			case err == nil:
				err = d.Ack(false)
			}
			if err != nil {
				return err // not acked: it is redelivered on the next connection
			}
		}
	}
}

// handle applies one event and records its id in one transaction: both are stored, or neither.
func handle(ctx context.Context, db *sql.DB, body []byte) error {
	var e event
	if json.Unmarshal(body, &e) != nil || e.ID == "" || e.Payload.Data.UserID == "" || e.Payload.Data.Version < 1 {
		return errPoison
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	first, err := tx.ExecContext(ctx, `INSERT INTO seen (event_id) VALUES (?) ON CONFLICT DO NOTHING`, e.ID)
	if err != nil {
		return err
	}
	if n, err := first.RowsAffected(); err != nil || n == 0 {
		return err // seen before: nothing to do
	}
	// No order is promised, so an older version never replaces a newer one.
	data := e.Payload.Data
	_, err = tx.ExecContext(ctx, `INSERT INTO holders (user_id, version, plan, status) VALUES (?, ?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, plan = excluded.plan, status = excluded.status
		WHERE excluded.version > holders.version`, data.UserID, data.Version, data.PlanCode, cmp.Or(data.Status, data.NewStatus))
	if err != nil {
		return err
	}
	return tx.Commit()
}

// declare is idempotent. Services share the exchange: the broker refuses a declaration with other arguments.
func declare(ch *amqp.Channel) error {
	durable := func(name string, args amqp.Table) error {
		args["x-queue-type"] = "quorum"
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		return err
	}
	return cmp.Or(
		ch.ExchangeDeclare("smap.events", "topic", true, false, false, false, nil),
		ch.ExchangeDeclare("billing.dlx", "direct", true, false, false, false, nil),
		durable(queue+".dead", amqp.Table{}),
		ch.QueueBind(queue+".dead", queue, "billing.dlx", false, nil),
		durable(queue, amqp.Table{
			"x-delivery-limit": 20, "x-dead-letter-exchange": "billing.dlx", "x-dead-letter-routing-key": queue,
			"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
		}),
		ch.QueueBind(queue, "subscription.#", "smap.events", false, nil),
	)
}
