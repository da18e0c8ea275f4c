//go:build e2e

package migration

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/test/harness"
)

// The queues of another team, bound to both exchanges and read when all is over: what lies in them is every copy that
// was ever published, whatever connections broke meanwhile.
const (
	fanoutTap = "walk.tap.fanout"
	topicTap  = "walk.tap.topic"
	mailKey   = "email.verification.requested"
)

// tap binds them. It declares both exchanges like any other service.
func tap(s *harness.TestSystem) {
	s.OnBroker(func(ch *amqp.Channel) error {
		for _, t := range []struct{ queue, exchange, kind, key string }{
			{fanoutTap, legacy.Exchange, amqp.ExchangeFanout, ""},
			{topicTap, harness.Exchange, amqp.ExchangeTopic, mailKey},
		} {
			if err := ch.ExchangeDeclare(t.exchange, t.kind, true, false, false, false, nil); err != nil {
				return err
			}
			if _, err := ch.QueueDeclare(t.queue, true, false, false, false, nil); err != nil {
				return err
			}
			if err := ch.QueueBind(t.queue, t.key, t.exchange, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// copies is how many copies there were of each event.
type copies struct {
	fanout, stamped, topic map[string]int
}

// tapped reads the queues to their end, once the publishers have stopped.
func tapped(s *harness.TestSystem) copies {
	c := copies{map[string]int{}, map[string]int{}, map[string]int{}}
	s.OnBroker(func(ch *amqp.Channel) error {
		return empty(ch, fanoutTap, func(d amqp.Delivery) { c.fanout[d.MessageId]++ })
	})
	s.OnBroker(func(ch *amqp.Channel) error {
		return empty(ch, topicTap, func(d amqp.Delivery) {
			if d.Headers[legacy.HeaderOwner] == legacy.OwnerLegacy {
				c.stamped[d.MessageId]++
			} else {
				c.topic[d.MessageId]++
			}
		})
	})
	return c
}

func empty(ch *amqp.Channel, queue string, see func(amqp.Delivery)) error {
	state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	for range state.Messages {
		d, ok := <-deliveries
		if !ok {
			return amqp.ErrClosed
		}
		see(d)
	}
	return nil
}
