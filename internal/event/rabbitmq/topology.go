package rabbitmq

import (
	"errors"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// DeadLetterExchange takes what a queue gives up on; the routing key is the queue's name.
const DeadLetterExchange = "identity.dlx"

// Limits written into queue arguments. They are immutable at the broker: changing one means a new queue name.
const (
	// deliveryLimit is the broker's own net under event.CrashLoopLimit. Its default and its meaning changed between
	// 3.x, 4.0 and 4.3, so it is set explicitly.
	deliveryLimit = 20
	// deadDeliveryLimit keeps dead letters through any number of looks at them: RabbitMQ 4 would otherwise drop a
	// message that was listed and put back 20 times. 3.10 does not know -1 for "none".
	deadDeliveryLimit = 1_000_000
)

// exchange, queue and binding are rows of the one table that is declared on every connection.
type exchange struct {
	Name, Kind string
}

type queue struct {
	Name string
	Args amqp.Table
}

type binding struct {
	Queue, Key, Exchange string
}

// Topology is everything this service needs to exist at the broker.
type Topology struct {
	exchanges []exchange
	queues    []queue
	bindings  []binding
}

// NewTopology derives exchanges, queues and bindings from the queues this service consumes (docs/adr/0003).
func NewTopology(queues []event.Queue) Topology {
	t := Topology{exchanges: []exchange{
		{event.Exchange, amqp.ExchangeTopic}, // no arguments: neighbours declare it so, anything else is 406 for them
		{DeadLetterExchange, amqp.ExchangeDirect},
	}}
	for _, q := range queues {
		t.queues = append(t.queues, queue{q.Name, amqp.Table{
			amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": deliveryLimit,
			"x-dead-letter-exchange": DeadLetterExchange, "x-dead-letter-routing-key": q.Name,
			"x-dead-letter-strategy": "at-least-once", amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish,
		}})
		for _, pattern := range q.Bindings {
			t.bindings = append(t.bindings, binding{q.Name, pattern, event.Exchange})
		}
		for i, delay := range q.Retry.Levels {
			t.queues = append(t.queues, queue{q.RetryQueue(i), retryArgs(q.Name, delay)})
		}
		t.queues = append(t.queues, queue{q.DeadQueue(), amqp.Table{
			amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": deadDeliveryLimit,
		}})
		t.bindings = append(t.bindings, binding{q.DeadQueue(), q.Name, DeadLetterExchange})
	}
	return t
}

// declares reports whether exchange is one of t's.
func (t Topology) declares(name string) bool {
	return slices.ContainsFunc(t.exchanges, func(e exchange) bool { return e.Name == name })
}

// retryArgs make a queue whose messages wait exactly delay, in order, and go back to one queue. It is addressed
// through the default exchange, whose bindings nobody can delete.
func retryArgs(target string, delay time.Duration) amqp.Table {
	return amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeQuorum, amqp.QueueMessageTTLArg: delay.Milliseconds(),
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target,
		"x-dead-letter-strategy": "at-least-once", amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish,
	}
}

// declaring lets one connection of this process declare at a time: a 3.10 broker fails (541) when many quorum queues are
// declared at once.
var declaring sync.Mutex

// Declare creates what is missing. It is idempotent; something that exists with other arguments is an error that names
// it. What the user may not configure is used as it is, when it exists. lacks names the permissions that are missing.
func (t Topology) Declare(conn *amqp.Connection) (lacks []string, err error) {
	declaring.Lock()
	defer declaring.Unlock()
	if t.declareUnheard(conn) == nil {
		return nil, nil
	}
	d := &declaration{Topology: t, conn: conn}
	for _, e := range t.exchanges {
		if err := d.exchange(e); err != nil {
			return d.lacks, err
		}
	}
	for _, q := range t.queues {
		if err := d.queue(q); err != nil {
			return d.lacks, err
		}
	}
	for _, b := range t.bindings {
		if err := d.bind(b); err != nil {
			return d.lacks, err
		}
	}
	return d.lacks, d.end()
}

// declareUnheard asks for everything without waiting for a reply to each, which takes one way to the broker and back
// instead of one for each queue and binding. After a refusal the broker ignores the rest, and the error names nothing:
// what was refused has to be found out one by one.
func (t Topology) declareUnheard(conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	const unheard = true
	for _, e := range t.exchanges {
		err = errors.Join(err, ch.ExchangeDeclare(e.Name, e.Kind, true, false, false, unheard, nil))
	}
	for _, q := range t.queues {
		_, declared := ch.QueueDeclare(q.Name, true, false, false, unheard, q.Args)
		err = errors.Join(err, declared)
	}
	for _, b := range t.bindings {
		err = errors.Join(err, ch.QueueBind(b.Queue, b.Key, b.Exchange, unheard, nil))
	}
	// This is waited for, and can be neither refused nor responded to before what came first. Close says nothing of a
	// channel that is closed already.
	return errors.Join(err, ch.Qos(1, 0, false), ch.Close())
}
