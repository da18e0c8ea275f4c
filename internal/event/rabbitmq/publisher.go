package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// Publisher sends messages and waits for their confirms. One goroutine owns the channel; any number may call Send.
type Publisher struct {
	options  rabbitmq.Options
	topology Topology
	requests chan request
	live     atomic.Pointer[publishSession] // nil while there is no connection
	refusal  atomic.Pointer[error]          // why the last connection could not be used; nil when it could
	lacks    atomic.Pointer[[]string]       // the permissions that the last declaration found missing
	outcome  atomic.Pointer[error]          // why the last message to event.Exchange was refused; nil when it was taken
	// unconfirmed is when a message was last refused, or got no confirm in time, in Unix nanoseconds; 0 once one was taken.
	unconfirmed atomic.Int64
}

type request struct {
	message *event.Message
	done    func(error)
}

// NewPublisher returns a Publisher that works once Run does. It declares t on every connection, so that a message has
// its queue even when no consumer has ever run, and does nothing while the broker refuses that.
func NewPublisher(o rabbitmq.Options, t Topology) *Publisher {
	return &Publisher{options: o, topology: t, requests: make(chan request)}
}

// Run keeps the connection until ctx ends, and then returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	return rabbitmq.Supervise(ctx, p.options, p.session)
}

// Send implements event.Sender. Without a connection, and while the broker takes no messages (memory or disk alarm), it
// returns event.ErrUnavailable at once; else it returns within about twice confirmTimeout whatever the broker does.
// Messages are sent in the order given. One for an exchange that is not in the Publisher's topology is
// event.ErrUnroutable and is not sent; one that cannot be written is event.ErrRejected, and so is one for which the
// broker closes the channel. Those that were on the channel with it are sent again on another.
func (p *Publisher) Send(ctx context.Context, messages []event.Message) []error {
	results := make([]error, len(messages))
	session := p.live.Load()
	connected := session
	var wg sync.WaitGroup
	for i := range messages {
		switch {
		case session == nil || session.alarm.Raised():
			results[i] = event.ErrUnavailable
			continue
		case messages[i].Alone:
			results[i] = errChannelClosed
			continue
		}
		wg.Add(1)
		r := request{message: &messages[i], done: func(err error) { results[i] = err; wg.Done() }}
		select {
		case p.requests <- r:
		case <-session.ended:
			r.done(event.ErrUnavailable)
			session = nil
		case <-ctx.Done():
			r.done(fmt.Errorf("%w: %w", event.ErrUnavailable, context.Cause(ctx)))
		}
	}
	wg.Wait()
	connected.isolate(ctx, messages, results)
	p.note(messages, results)
	return results
}

// note keeps for health what became of the last message to event.Exchange, where that says something about the broker.
func (p *Publisher) note(messages []event.Message, results []error) {
	for i, err := range results {
		if messages[i].Exchange != event.Exchange {
			continue
		}
		if lack, refused := errors.AsType[rightError](err); refused {
			outcome := error(lack)
			p.outcome.Store(&outcome)
		} else if err == nil {
			p.outcome.Store(nil)
		}
	}
}
