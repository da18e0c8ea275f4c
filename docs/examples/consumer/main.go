// Command consumer is a complete consumer of events, for the authors of other services (docs/integrate.md).
package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	_ "modernc.org/sqlite" // any database will do, if it is the one that holds the effect
)

const queue = "billing.accounts"

// errPoison marks a message that no retry can help.
var errPoison = errors.New("it lacks what is needed")

type event struct {
	ID      string `json:"event_id"`
	Payload struct {
		Data struct {
			UserID     string    `json:"user_id"`
			OccurredAt time.Time `json:"occurred_at"` // of user.*
			// Of subscription.*:
			Version        int64      `json:"version"`
			PlanCode       string     `json:"plan_code"`
			Status         string     `json:"status"`     // of subscription.created
			NewStatus      string     `json:"new_status"` // of the others
			EffectiveUntil *time.Time `json:"effective_until"`
		} `json:"data"`
	} `json:"payload"`
}

func main() {
	db, err := sql.Open("sqlite", "billing.db?_pragma=busy_timeout(5000)")
	if err == nil {
		_, err = db.Exec(`CREATE TABLE IF NOT EXISTS seen (event_id text PRIMARY KEY);
			CREATE TABLE IF NOT EXISTS holders
				(user_id text PRIMARY KEY, version bigint, plan text, status text, until bigint);
			CREATE TABLE IF NOT EXISTS refused (user_id text PRIMARY KEY, since bigint)`)
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
	log.Printf("waiting for events in %s", queue)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the connection is lost, or the queue was deleted")
			}
			done, err := handle(ctx, db, d.Type, d.Body)
			switch {
			case errors.Is(err, errPoison):
				done = "to the dead queue: " + err.Error()
				err = d.Nack(false, false) // not requeued
			case err == nil:
				err = d.Ack(false)
			}
			if err != nil {
				return err // not acked: it is redelivered on the next connection
			}
			log.Printf("%s %s: %s", d.Type, d.MessageId, done)
		}
	}
}

// handle applies one event and records its id in one transaction: both are stored, or neither. It returns what it did.
func handle(ctx context.Context, db *sql.DB, kind string, body []byte) (done string, err error) {
	var e event
	if json.Unmarshal(body, &e) != nil || e.ID == "" || e.Payload.Data.UserID == "" {
		return "", errPoison
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	first, err := tx.ExecContext(ctx, `INSERT INTO seen (event_id) VALUES (?) ON CONFLICT DO NOTHING`, e.ID)
	if err != nil {
		return "", err
	}
	if n, err := first.RowsAffected(); err != nil || n == 0 {
		return "seen before, nothing to do", err
	}
	switch {
	case strings.HasPrefix(kind, "subscription."):
		done, err = hold(ctx, tx, e)
	case kind == "user.disabled" || kind == "user.deleted":
		done, err = refuse(ctx, tx, e)
		if err == nil && kind == "user.deleted" {
			done, err = drop(ctx, tx, e)
		}
	default:
		err = errPoison
	}
	if err != nil {
		return "", err
	}
	return done, tx.Commit()
}

// hold stores what a user holds. No order is promised, so an older version never replaces a newer one.
func hold(ctx context.Context, tx *sql.Tx, e event) (string, error) {
	data, status := e.Payload.Data, cmp.Or(e.Payload.Data.Status, e.Payload.Data.NewStatus)
	if data.Version < 1 || data.PlanCode == "" || status == "" {
		return "", errPoison
	}
	var until any // NULL is open-ended
	if data.EffectiveUntil != nil {
		until = data.EffectiveUntil.Unix()
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO holders (user_id, version, plan, status, until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE
		SET version = excluded.version, plan = excluded.plan, status = excluded.status, until = excluded.until
		WHERE excluded.version > holders.version`, data.UserID, data.Version, data.PlanCode, status, until)
	if err != nil {
		return "", err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return "older than what is stored, nothing to do", err
	}
	return fmt.Sprintf("%s holds %s, %s, entitled: %t",
		data.UserID, data.PlanCode, status, entitled(status, data.EffectiveUntil, time.Now())), nil
}

// entitled is the rule for what an event or the hash in Redis says. Without until it is open-ended.
func entitled(status string, until *time.Time, now time.Time) bool {
	switch status {
	case "trialing", "active", "past_due", "cancelled": // a cancelled subscription lasts until its end
		return until == nil || now.Before(*until)
	}
	return false
}

// refuse stores from when on a user's tokens are refused. They get new ones only after they were enabled again.
func refuse(ctx context.Context, tx *sql.Tx, e event) (string, error) {
	data := e.Payload.Data
	if data.OccurredAt.IsZero() {
		return "", errPoison
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO refused (user_id, since) VALUES (?, ?)
		ON CONFLICT (user_id) DO UPDATE SET since = excluded.since WHERE excluded.since > refused.since`,
		data.UserID, data.OccurredAt.Unix())
	return fmt.Sprintf("tokens of %s that are older are refused", data.UserID), err
}

// drop ends what a deleted user holds. Events of theirs that come later have a lower version, and change nothing.
func drop(ctx context.Context, tx *sql.Tx, e event) (string, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO holders (user_id, version, plan, status, until) VALUES (?, ?, '', 'deleted', NULL)
		ON CONFLICT (user_id) DO UPDATE
		SET version = excluded.version, plan = excluded.plan, status = excluded.status, until = excluded.until`,
		e.Payload.Data.UserID, int64(math.MaxInt64))
	return fmt.Sprintf("%s holds nothing any more, and their tokens are refused", e.Payload.Data.UserID), err
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
		ch.QueueBind(queue, "user.disabled", "smap.events", false, nil),
		ch.QueueBind(queue, "user.deleted", "smap.events", false, nil),
	)
}
