package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// window is how many messages may be unconfirmed at once: at 512 to 1024 a quorum queue's throughput levels off.
	window = 1024
	// confirmTimeout is how long a confirm may take before the connection counts as dead.
	confirmTimeout = 10 * time.Second
)

// errNoConfirm ends a session whose broker has stopped confirming.
var errNoConfirm = errors.New("rabbitmq: no confirm in time; rebuilding the connection")

// Publisher sends messages and waits for their confirms. One goroutine owns the channel; any number may call Send.
type Publisher struct {
	options  rabbitmq.Options
	topology Topology
	requests chan request
	live     atomic.Pointer[publishSession] // nil while there is no connection
	refusal  atomic.Pointer[error]          // why the last connection could not be used; nil when it could
}

type request struct {
	message *event.Message
	done    func(error)
}

type pending struct {
	request
	confirm *amqp.DeferredConfirmation
	sentAt  time.Time
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
// event.ErrUnroutable and is not sent.
func (p *Publisher) Send(ctx context.Context, messages []event.Message) []error {
	results := make([]error, len(messages))
	session := p.live.Load()
	var wg sync.WaitGroup
	for i := range messages {
		if session == nil || session.alarm.Raised() {
			results[i] = event.ErrUnavailable
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
	return results
}

// publishSession is one connection's life.
type publishSession struct {
	publisher *Publisher
	conn      *amqp.Connection
	channel   *amqp.Channel
	inflight  chan pending
	returns   chan amqp.Return
	alarm     Alarm
	ended     chan struct{}
	returned  map[string]int // messages that came back, by their copyKey
	healing   atomic.Bool
}

func (p *Publisher) session(ctx context.Context, conn *amqp.Connection) error {
	if err := OnChannel(conn, p.topology.Declare); err != nil {
		p.refusal.Store(&err)
		return err
	}
	p.refusal.Store(nil)
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("rabbitmq: switching confirms on: %w", err)
	}
	s := &publishSession{
		publisher: p, conn: conn, channel: ch, ended: make(chan struct{}), returned: map[string]int{},
		inflight: make(chan pending, window),
		// Every message in flight can come back: those in the window, the one whose confirm is awaited and the one that
		// waits for a place. With room for all of them the library's reader never waits for us, and never drops one.
		returns: ch.NotifyReturn(make(chan amqp.Return, window+2)),
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	go s.alarm.Watch(conn.NotifyBlocked(make(chan amqp.Blocking, 16)), p.options.Log)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		s.collect(cancel)
	}()
	p.live.Store(s)
	err = s.publish(ctx, closed)
	p.live.Store(nil)
	close(s.ended)
	close(s.inflight)
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errNoConfirm) && !conn.IsClosed() {
		// An asked-for stop: what is in flight may still be confirmed.
		<-collected
	} else {
		_ = conn.CloseDeadline(time.Now()) // ends every confirm that is still awaited
		<-collected
	}
	return err
}

// publish hands requests to the channel until ctx ends or the channel fails.
func (s *publishSession) publish(ctx context.Context, closed <-chan *amqp.Error) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-closed: // as for an exchange that was deleted
			return fmt.Errorf("rabbitmq: the broker closed the channel that publishes: %w", cmp.Or(err, amqp.ErrClosed))
		case r := <-s.publisher.requests:
			if err := s.publishOne(r); err != nil {
				return err
			}
		}
	}
}

// publishOne hands one request to the channel, or fails it. An error ends the session.
func (s *publishSession) publishOne(r request) error {
	m := r.message
	if s.alarm.Raised() { // since Send has looked
		r.done(event.ErrUnavailable)
		return nil
	}
	if !s.knows(m.Exchange) {
		r.done(fmt.Errorf("%w: exchange %q is not in the topology of this process", event.ErrUnroutable, m.Exchange))
		return nil
	}
	confirm, err := s.channel.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, m.Mandatory, false, ToPublishing(*m))
	if err != nil {
		r.done(fmt.Errorf("%w: %w", event.ErrUnavailable, err))
		return fmt.Errorf("rabbitmq: publishing: %w", err)
	}
	s.inflight <- pending{request: r, confirm: confirm, sentAt: time.Now()}
	return nil
}

// collect waits for the confirms in the order of publishing and ends each request. Out of order confirms only
// wait for their turn here, which costs nothing but a place in the window.
func (s *publishSession) collect(cancel context.CancelCauseFunc) {
	timer := time.NewTimer(confirmTimeout)
	defer timer.Stop()
	for p := range s.inflight {
		select {
		case <-p.confirm.Done():
		default:
			timer.Reset(time.Until(p.sentAt.Add(confirmTimeout)))
			select {
			case <-p.confirm.Done():
			case <-timer.C:
				// It is sent again with the same id. A broker under an alarm is alive, and keeps its connection.
				if !s.alarm.Raised() {
					cancel(errNoConfirm)
				}
				p.done(event.ErrUnavailable)
				continue
			}
		}
		p.done(s.outcome(p))
	}
}

// outcome reads a finished confirm. A return always arrives before the confirm of the same message, so draining the
// returns first tells an unroutable message from a good one.
func (s *publishSession) outcome(p pending) error {
	for len(s.returns) > 0 {
		r := <-s.returns
		s.returned[copyKey(r.MessageId, r.Exchange, r.RoutingKey)]++
	}
	m := p.message
	if key := copyKey(m.ID, m.Exchange, m.RoutingKey); s.returned[key] > 0 {
		if s.returned[key]--; s.returned[key] == 0 {
			delete(s.returned, key)
		}
		s.heal()
		return event.ErrUnroutable
	}
	switch {
	case p.confirm.Acked():
		return nil
	case s.channel.IsClosed():
		return event.ErrUnavailable // the library ends open confirms as "not acked" when a connection dies
	default:
		return event.ErrRefused
	}
}

func copyKey(id, exchange, key string) string { return id + "\x00" + exchange + "\x00" + key }
