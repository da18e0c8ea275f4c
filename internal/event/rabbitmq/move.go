package rabbitmq

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
)

// moveRetry is the pause between tries to publish to a retry or dead queue while the broker takes nothing.
const moveRetry = 500 * time.Millisecond

// Move publishes m to one of our own queues and reports whether it is there. While the broker takes nothing it tries
// again, until stop ends, or life, which is that of the connection the message came on.
func Move(stop, life context.Context, s event.Sender, m event.Message, log zerolog.Logger) bool {
	for tries := 0; ; tries++ {
		err := s.Send(context.WithoutCancel(life), []event.Message{m})[0]
		if err == nil {
			return true
		}
		if tries == 0 {
			log.Warn().Err(err).Str("event_id", m.ID).Str("to", m.RoutingKey).
				Msg("a message cannot be moved yet; retrying, with its handler's place taken")
		}
		select {
		case <-time.After(moveRetry):
		case <-life.Done():
			return false
		case <-stop.Done():
			return false
		}
	}
}

// GiveBack ends the consumer on ch first and gives back second: the other way round the broker would hand the same
// messages to us again, until they count as a crash loop. unbegun are those already read from deliveries.
func GiveBack(ch *amqp.Channel, deliveries <-chan amqp.Delivery, unbegun ...amqp.Delivery) error {
	rest, err := cancelConsumer(ch, deliveries)
	if err != nil {
		return err
	}
	for _, d := range append(unbegun, rest...) {
		if err := d.Nack(false, true); err != nil {
			return fmt.Errorf("rabbitmq: giving back a message: %w", err)
		}
	}
	return nil
}

// cancelConsumer ends the consumer on ch and returns what it had been sent and not read.
func cancelConsumer(ch *amqp.Channel, deliveries <-chan amqp.Delivery) (unread []amqp.Delivery, err error) {
	if err := ch.Cancel(event.Service, false); err != nil {
		return nil, fmt.Errorf("rabbitmq: cancelling a consumer: %w", err)
	}
	for d := range deliveries {
		unread = append(unread, d)
	}
	return unread, nil
}
