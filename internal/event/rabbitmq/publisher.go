package rabbitmq

import (
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
	// healDelay is how long after an unroutable message the topology is declared anew. Not at once: a quorum queue that
	// is declared again within some 30 ms of its deletion (measured on 3.10) keeps its consumers in name only; they are
	// not cancelled, and get nothing for ever.
	healDelay = time.Second
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

// NewPublisher answers a Publisher that works once Run does. It declares topology on every connection, so that a
// message has its queue even when no consumer has ever run.
func NewPublisher(o rabbitmq.Options, t Topology) *Publisher {
	return &Publisher{options: o, topology: t, requests: make(chan request)}
}

// Run keeps the connection until ctx ends, and then answers nil.
func (p *Publisher) Run(ctx context.Context) error {
	return rabbitmq.Supervise(ctx, p.options, p.session)
}

// Send implements event.Sender. Without a connection it answers event.ErrUnavailable at once; with one it returns
// within about twice confirmTimeout whatever the broker does. Messages are sent in the order given.
func (p *Publisher) Send(ctx context.Context, messages []event.Message) []error {
	results := make([]error, len(messages))
	session := p.live.Load()
	var wg sync.WaitGroup
	for i := range messages {
		if session == nil {
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
	blocked   atomic.Pointer[string]
	ended     chan struct{}
	healing   atomic.Bool
}

func (p *Publisher) session(ctx context.Context, conn *amqp.Connection) error {
	if err := p.topology.declareOn(conn); err != nil {
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
		publisher: p, conn: conn, channel: ch, ended: make(chan struct{}),
		inflight: make(chan pending, window),
		// Every message in flight can come back: those in the window, the one whose confirm is awaited and the one that
		// waits for a place. With room for all of them the library's reader never waits for us, and never drops one.
		returns: ch.NotifyReturn(make(chan amqp.Return, window+2)),
	}
	go s.watchBlocked(conn.NotifyBlocked(make(chan amqp.Blocking, 16)))

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		s.collect(cancel)
	}()
	p.live.Store(s)
	err = s.publish(ctx)
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
func (s *publishSession) publish(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r := <-s.publisher.requests:
			m := r.message
			confirm, err := s.channel.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, m.Mandatory, false, toPublishing(*m))
			if err != nil {
				r.done(fmt.Errorf("%w: %w", event.ErrUnavailable, err))
				return fmt.Errorf("rabbitmq: publishing: %w", err)
			}
			s.inflight <- pending{request: r, confirm: confirm, sentAt: time.Now()}
		}
	}
}

// collect waits for the confirms in the order of publishing and answers each request. Out of order confirms only
// wait for their turn here, which costs nothing but a place in the window.
func (s *publishSession) collect(cancel context.CancelCauseFunc) {
	returned := map[string]int{}
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
				cancel(errNoConfirm)
				p.done(event.ErrUnavailable)
				continue
			}
		}
		p.done(s.outcome(p, returned))
	}
}

// outcome reads a finished confirm. A return always arrives before the confirm of the same message, so draining the
// returns first tells an unroutable message from a good one.
func (s *publishSession) outcome(p pending, returned map[string]int) error {
	for drained := false; !drained; {
		select {
		case r, ok := <-s.returns:
			if !ok {
				s.returns, drained = nil, true
			} else {
				returned[copyKey(r.MessageId, r.Exchange, r.RoutingKey)]++
			}
		default:
			drained = true
		}
	}
	m := p.message
	if key := copyKey(m.ID, m.Exchange, m.RoutingKey); returned[key] > 0 {
		if returned[key]--; returned[key] == 0 {
			delete(returned, key)
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

// heal has the topology declared anew after healDelay: somebody has deleted a queue or binding.
func (s *publishSession) heal() {
	if !s.healing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(healDelay, func() {
		defer s.healing.Store(false)
		select {
		case <-s.ended: // the next connection declares it anyway
			return
		default:
		}
		if err := s.publisher.topology.declareOn(s.conn); err != nil {
			s.publisher.options.Log.Error().Err(err).Msg("a message was unroutable and the topology cannot be declared")
			return
		}
		s.publisher.options.Log.Warn().Msg("a message was unroutable; the topology has been declared anew")
	})
}

// watchBlocked keeps the broker's own word on why it takes no messages (memory or disk alarm).
func (s *publishSession) watchBlocked(notices <-chan amqp.Blocking) {
	for n := range notices {
		if n.Active {
			s.blocked.Store(&n.Reason)
			s.publisher.options.Log.Warn().Str("reason", n.Reason).Msg("rabbitmq takes no messages; the outbox keeps them")
		} else {
			s.blocked.Store(nil)
			s.publisher.options.Log.Info().Msg("rabbitmq takes messages again")
		}
	}
}
