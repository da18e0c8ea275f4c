package event

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Errors of a Sender. They decide what the relay does with the row.
var (
	// ErrUnavailable: the broker cannot be reached, or did not confirm in time. Whether it has the message is unknown:
	// send it again with the same ID. The message itself is not at fault.
	ErrUnavailable = errors.New("event: the broker did not confirm; the message will be sent again")
	// ErrUnroutable: no queue took the message. A queue or binding is missing.
	ErrUnroutable = errors.New("event: no queue is bound for this routing key; declare the topology")
	// ErrRefused: the broker nacked the message, as a full queue with reject-publish does.
	ErrRefused = errors.New("event: the broker refused the message; is a queue full?")
	// ErrRejected: the message itself is at fault. It cannot be written ([Message.Check]), or the broker closes the channel
	// for it alone, as where a permission is missing for its routing key or it is too large.
	ErrRejected = errors.New("event: the message itself cannot be published")
)

// Sender is a broker as the relay sees it. Send publishes all messages, waits until each is confirmed or has failed, and
// returns one error per message, nil where it is confirmed. It returns within its own deadline even when the broker
// hangs.
type Sender interface {
	Send(ctx context.Context, messages []Message) []error
}

// Queue is one durable queue of this service and how its messages are treated.
type Queue struct {
	Name     string
	Bindings []string // patterns on Exchange, with * and #
	Retry    Policy
	Workers  int // handlers at a time in one process
	Prefetch int // deliveries the broker hands out ahead; small where a handler is risky (docs/adr/0003)
	// Repeatable says that handling a message again is harmless. Its acks may then wait for others (docs/adr/0022).
	Repeatable bool
}

// RetryQueue returns the name of the queue that holds messages for level i.
func (q Queue) RetryQueue(i int) string { return q.Name + ".retry." + levelName(q.Retry.Levels[i]) }

// DeadQueue returns the name of the queue that holds dead letters.
func (q Queue) DeadQueue() string { return q.Name + ".dead" }

// levelName formats a delay without zero parts: 30s, 2m.
func levelName(d time.Duration) string {
	return strings.ReplaceAll(strings.ReplaceAll(d.String(), "m0s", "m"), "h0m", "h")
}

// Names returns the names of q, of its retry levels, and of its dead queue.
func (q Queue) Names() []string {
	names := []string{q.Name}
	for i := range q.Retry.Levels {
		names = append(names, q.RetryQueue(i))
	}
	return append(names, q.DeadQueue())
}

// Depth is what a broker says of one of the queues that stand behind a [Queue].
type Depth struct {
	Ready     int // messages that wait for a consumer
	Consumers int
}

// Observer sees every delivery, for logs, metrics and traces. Begin runs before the handler and returns the handler's
// context, and a function that is called once the decision has been carried out.
type Observer interface {
	Begin(ctx context.Context, q Queue, d Delivery) (context.Context, func(Decision, error))
}

// Consumer is the work on one queue, broker-neutral.
type Consumer struct {
	Queue    Queue
	Handle   Handler // usually [Router.Dispatch] inside a [Chain] with [Limit]
	Observer Observer
	Lane     *Lane // nil: a message that is blocked waits on the last retry level
}

// DeadLetter is a message in a dead queue, as it may be shown: no body.
type DeadLetter struct {
	Queue       string `json:"queue"`
	EventID     string `json:"event_id"`
	RoutingKey  string `json:"routing_key"`
	Reason      string `json:"reason"`
	ErrorClass  string `json:"error_class"`
	Attempts    int    `json:"attempts"`
	FirstFailed string `json:"first_failed_at,omitempty"` // RFC 3339
	DeadSince   string `json:"dead_at,omitempty"`         // RFC 3339
	BodyBytes   int    `json:"body_bytes"`
}

// DeadLetter returns what may be shown of m, found in the dead queue of queue.
func (m Message) DeadLetter(queue string) DeadLetter {
	return DeadLetter{
		Queue:       queue,
		EventID:     m.ID,
		RoutingKey:  m.RoutingKey,
		Reason:      m.Headers[HeaderDeadReason],
		ErrorClass:  m.Headers[HeaderError],
		Attempts:    m.Attempts(),
		FirstFailed: m.Headers[HeaderFirstFailed],
		DeadSince:   m.Headers[HeaderDeadAt],
		BodyBytes:   len(m.Body),
	}
}
