package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// RemoveFanout deletes what FanoutTopology declares, the queue first, and tells removed of each that is gone. What does
// not exist is passed over. The broker refuses a queue that holds messages, and an exchange that anything is bound to;
// that is an error, and what was deleted before it stays deleted.
//
// The broker's refusals are the last guard, and not a sufficient one. They do not see: messages that a reader holds
// unacknowledged, which go with the queue; readers, who are cancelled; whoever publishes to the exchange, whose next
// publish closes its channel; a message that comes between the two deletions, which is dropped unless it is mandatory.
// Who calls this has made sure of all that, as far as it can be seen.
func RemoveFanout(ctx context.Context, o rabbitmq.Options, exchange, queue string, removed func(what string)) (err error) {
	conn, err := rabbitmq.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	q, err := lookAtQueue(conn, queue)
	if err != nil {
		return err
	}
	if q.Exists {
		err := onChannel(conn, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(queue, false, true, false)
			return err
		})
		if err != nil {
			return fmt.Errorf("rabbitmq: deleting queue %s: %w", queue, err)
		}
		removed("queue " + queue)
	}
	e, err := lookAtExchange(conn, exchange)
	if err != nil || !e.Exists {
		return err
	}
	if err := onChannel(conn, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, true, false) }); err != nil {
		return fmt.Errorf("rabbitmq: deleting exchange %s: %w", exchange, err)
	}
	removed("exchange " + exchange)
	return nil
}
