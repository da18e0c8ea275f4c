package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// refusalLife is how long a channel that refuses is used at least: in a batch for a full queue each message is refused.
	refusalLife = time.Second
)

var (
	// errNoConfirm ends a session whose broker has stopped confirming.
	errNoConfirm = errors.New("rabbitmq: no confirm in time; rebuilding the connection")
	// errChannelClosed is the result of a message that was on a channel when the broker closed it. It never leaves Send.
	errChannelClosed = errors.New("rabbitmq: the broker closed the channel before it confirmed the message")
)

// publishSession is one connection's life.
type publishSession struct {
	publisher *Publisher
	conn      *amqp.Connection
	link      *link // of what is sent together; isolate has its own
	inflight  chan pending
	alarm     Alarm
	end       context.CancelCauseFunc
	ended     chan struct{}
	healing   atomic.Bool
}

// pending is a message that waits for its confirm.
type pending struct {
	request
	link    *link
	confirm *amqp.DeferredConfirmation
	sentAt  time.Time
}

func (p *Publisher) session(ctx context.Context, conn *amqp.Connection) error {
	lacks, err := p.topology.Declare(conn)
	if err != nil {
		p.refusal.Store(&err)
		return err
	}
	p.refusal.Store(nil)
	p.lacks.Store(&lacks)
	if len(lacks) > 0 {
		p.options.Log.Warn().Strs("lacks", lacks).Msg("the user of RABBITMQ_URL lacks permissions; what exists is used as it is")
	}
	first, err := openLink(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &publishSession{
		publisher: p, conn: conn, link: first, end: cancel, ended: make(chan struct{}), inflight: make(chan pending, window),
	}
	go s.alarm.Watch(conn.NotifyBlocked(make(chan amqp.Blocking, 16)), p.options.Log)

	collected := make(chan struct{})
	go func() {
		defer close(collected)
		s.collect()
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

// publish hands requests to the channel until ctx ends or the connection fails.
func (s *publishSession) publish(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-s.link.closed:
			if err := s.reopen(cmp.Or(err, amqp.ErrClosed)); err != nil {
				return err
			}
		case r := <-s.publisher.requests:
			if err := s.publishOne(r); err != nil {
				return err
			}
		}
	}
}

// reopen replaces the channel, which the broker has closed because of one message on it.
func (s *publishSession) reopen(cause error) error {
	if s.conn.IsClosed() {
		return fmt.Errorf("rabbitmq: publishing: %w", cause)
	}
	s.publisher.options.Log.Warn().Err(rabbitmq.Plain(cause)).
		Msg("the broker closed the channel that publishes; looking for the message it is about")
	return s.replace()
}

// replace has what follows sent on a new channel. The one before is closed by collect, after its last confirm.
func (s *publishSession) replace() error {
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	opened, err := Within(ctx, func() (*link, error) { return openLink(s.conn) })
	if err == nil {
		s.link = opened
	}
	return err
}

// publishOne hands one request to the channel, or fails it. An error ends the session.
func (s *publishSession) publishOne(r request) error {
	if s.alarm.Raised() { // since Send has looked
		r.done(event.ErrUnavailable)
		return nil
	}
	if err := s.refuse(*r.message); err != nil {
		r.done(err)
		return nil
	}
	if s.link.refuses.Load() && time.Since(s.link.opened) > refusalLife {
		if err := s.replace(); err != nil {
			r.done(fmt.Errorf("%w: %w", event.ErrUnavailable, err))
			return err
		}
	}
	confirm, err := s.link.publish(*r.message)
	if err != nil { // it was not sent, so it is not what the channel was closed for
		if err = s.reopen(err); err == nil {
			confirm, err = s.link.publish(*r.message)
		}
	}
	if err != nil {
		r.done(fmt.Errorf("%w: %w", event.ErrUnavailable, err))
		return fmt.Errorf("rabbitmq: publishing: %w", err)
	}
	s.inflight <- pending{request: r, link: s.link, confirm: confirm, sentAt: time.Now()}
	return nil
}

// refuse returns an error for what must not be handed to the library or the broker: it would end the connection, or the
// channel, for all others.
func (s *publishSession) refuse(m event.Message) error {
	if !s.knows(m.Exchange) {
		return fmt.Errorf("%w: exchange %q is not in the topology of this process", event.ErrUnroutable, m.Exchange)
	}
	return m.Check(s.conn.Config.FrameSize)
}

// collect waits for the confirms in the order of publishing and ends each request. Out of order confirms only
// wait for their turn here, which costs nothing but a place in the window.
func (s *publishSession) collect() {
	timer := time.NewTimer(confirmTimeout)
	defer timer.Stop()
	var last *link
	for p := range s.inflight {
		if last != nil && last != p.link {
			go func(ch *amqp.Channel) { _ = ch.Close() }(last.channel) // which waits for the broker; it may have closed it itself
		}
		last = p.link
		p.done(s.await(p, timer))
	}
}

// await returns what became of p.
func (s *publishSession) await(p pending, timer *time.Timer) error {
	select {
	case <-p.confirm.Done():
		return s.outcome(p)
	default:
	}
	timer.Reset(time.Until(p.sentAt.Add(confirmTimeout)))
	select {
	case <-p.confirm.Done():
		return s.outcome(p)
	case <-timer.C:
		// It is sent again with the same id. A broker under an alarm is alive, and keeps its connection.
		if !s.alarm.Raised() {
			s.publisher.unconfirmed.Store(time.Now().UnixNano())
			s.end(errNoConfirm)
		}
		return event.ErrUnavailable
	}
}

// outcome reads a finished confirm.
func (s *publishSession) outcome(p pending) error {
	switch {
	case p.link.hasReturned(*p.message):
		s.heal()
		return event.ErrUnroutable
	case p.confirm.Acked():
		s.publisher.unconfirmed.Store(0)
		return nil
	// The library ends open confirms as "not acked" when their channel or its connection ends.
	case s.conn.IsClosed():
		return event.ErrUnavailable
	case p.link.channel.IsClosed():
		return errChannelClosed
	default:
		s.publisher.unconfirmed.Store(time.Now().UnixNano())
		p.link.refuses.Store(true)
		return event.ErrRefused
	}
}

// link is a channel that confirms.
type link struct {
	channel *amqp.Channel
	opened  time.Time
	// refuses is set by the first refusal. RabbitMQ 3.10 remembers for the life of a channel that a quorum queue was full,
	// also when its limit is gone.
	refuses  atomic.Bool
	closed   <-chan *amqp.Error
	returns  <-chan amqp.Return
	returned map[string]int // messages that came back, by their copyKey
}

func openLink(conn *amqp.Connection) (*link, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("rabbitmq: switching confirms on: %w", err)
	}
	return &link{
		channel: ch, opened: time.Now(), returned: map[string]int{}, closed: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// Every message in flight can come back: those in the window, the one whose confirm is awaited and the one that
		// waits for a place. With room for all of them the library's reader never waits for us, and never drops one.
		returns: ch.NotifyReturn(make(chan amqp.Return, window+2)),
	}, nil
}

func (l *link) publish(m event.Message) (*amqp.DeferredConfirmation, error) {
	return l.channel.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, m.Mandatory, false, ToPublishing(m))
}

// hasReturned reports whether m, whose confirm has come, came back. A return always arrives before the confirm of the
// same message, so draining the returns first tells an unroutable message from a good one.
func (l *link) hasReturned(m event.Message) bool {
	for len(l.returns) > 0 {
		r := <-l.returns
		l.returned[copyKey(r.MessageId, r.Exchange, r.RoutingKey)]++
	}
	key := copyKey(m.ID, m.Exchange, m.RoutingKey)
	if l.returned[key] == 0 {
		return false
	}
	if l.returned[key]--; l.returned[key] == 0 {
		delete(l.returned, key)
	}
	return true
}

func copyKey(id, exchange, key string) string { return id + "\x00" + exchange + "\x00" + key }
