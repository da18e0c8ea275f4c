package legacy

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
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// confirmTimeout is how long a confirm, or a declaration, may take before the connection counts as dead.
	confirmTimeout = 10 * time.Second
	// freshFor is how long the old queue counts as present once it has been declared. A copy can be routed to another
	// team's queue alone: the broker then confirms it and returns nothing, so that only declaring shows what is missing.
	freshFor = time.Second
)

// errNoConfirm ends a session whose broker has stopped confirming.
var errNoConfirm = errors.New("legacy: no confirm in time; rebuilding the connection")

// Sender publishes legacy copies on a connection of its own, one at a time.
type Sender struct {
	options  rabbitmq.Options
	declares bool
	freshFor time.Duration // a test changes it
	patience time.Duration // the same; confirmTimeout
	sending  sync.Mutex
	live     atomic.Pointer[session] // nil while there is no connection
}

// NewSender returns a Sender that works once Run does. declares has the old topology declared on every connection.
// Without it that is left to the first copy, for a topology that may be cleaned up for good, and must be there again
// for a late copy.
func NewSender(o rabbitmq.Options, declares bool) *Sender {
	return &Sender{options: o, declares: declares, freshFor: freshFor, patience: confirmTimeout}
}

// Run keeps the connection until ctx ends, and then returns nil.
func (s *Sender) Run(ctx context.Context) error { return rabbitmq.Supervise(ctx, s.options, s.session) }

// Send publishes m and waits for its confirm. Without a connection, and while the broker takes no messages (memory or
// disk alarm), it returns event.ErrUnavailable at once. A message that was under way when an alarm began is waited for
// as long as the alarm and ctx last: the broker takes it afterwards, so it must not be sent again before. The errors are
// those of event.Sender; event.ErrUnroutable also says that the broker does not let us declare the old topology. A copy is
// alone on its channel: event.ErrRejected says that the broker closes the channel for it.
func (s *Sender) Send(ctx context.Context, m event.Message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	live := s.live.Load()
	if live == nil || live.alarm.Raised() || ctx.Err() != nil {
		return event.ErrUnavailable
	}
	if live.channel.IsClosed() {
		if err := live.open(ctx); err != nil {
			live.end(err)
			return fmt.Errorf("%w: %w", event.ErrUnavailable, err)
		}
	}
	if err := m.Check(live.conn.Config.FrameSize); err != nil {
		return err
	}
	if time.Since(live.declaredAt) >= s.freshFor {
		if err := live.declare(ctx); err != nil {
			return err
		}
	}
	for len(live.returns) > 0 { // of messages that were given up
		<-live.returns
	}
	confirm, err := live.channel.PublishWithDeferredConfirm(
		m.Exchange, m.RoutingKey, m.Mandatory, false, eventmq.ToPublishing(m))
	if err != nil {
		live.end(err)
		return fmt.Errorf("%w: %w", event.ErrUnavailable, err)
	}
	return live.await(ctx, confirm, m.ID)
}

// Blocked returns an error with the broker's reason while it takes no copies. It is unknown before a copy is sent.
func (s *Sender) Blocked() error {
	if live := s.live.Load(); live != nil {
		return live.alarm.Err()
	}
	return nil
}

// session is one connection's life.
type session struct {
	sender *Sender
	conn   *amqp.Connection
	alarm  eventmq.Alarm
	end    context.CancelCauseFunc
	// What follows belongs to the holder of Sender.sending.
	line
	declaredAt time.Time // zero: never
}

// line is a channel that confirms.
type line struct {
	channel *amqp.Channel
	returns chan amqp.Return
	closed  <-chan *amqp.Error
}

func openLine(conn *amqp.Connection) (line, error) {
	ch, err := conn.Channel()
	if err != nil {
		return line{}, fmt.Errorf("legacy: opening a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return line{}, fmt.Errorf("legacy: switching confirms on: %w", err)
	}
	return line{
		channel: ch,
		returns: ch.NotifyReturn(make(chan amqp.Return, 64)),
		closed:  ch.NotifyClose(make(chan *amqp.Error, 1)),
	}, nil
}

// open replaces the channel, which the broker has closed.
func (s *session) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.sender.patience)
	defer cancel()
	opened, err := eventmq.Within(ctx, func() (line, error) { return openLine(s.conn) })
	if err == nil {
		s.line = opened
	}
	return err
}

func (s *Sender) session(ctx context.Context, conn *amqp.Connection) error {
	l, err := openLine(conn)
	if err != nil {
		return err
	}
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	live := &session{sender: s, conn: conn, end: end, line: l}
	go live.alarm.Watch(conn.NotifyBlocked(make(chan amqp.Blocking, 16)), s.options.Log)
	if s.declares {
		if err := live.declare(life); errors.Is(err, event.ErrUnavailable) {
			return err
		}
	}
	s.live.Store(live)
	defer s.live.Store(nil)
	select {
	case <-ctx.Done(): // what is on its way may still be confirmed
		s.live.Store(nil)
		s.sending.Lock()
		defer s.sending.Unlock()
		return context.Cause(ctx)
	case <-life.Done():
		return context.Cause(life)
	}
}

// await returns what became of the message id.
func (s *session) await(ctx context.Context, confirm *amqp.DeferredConfirmation, id string) error {
	look := time.Tick(s.sender.patience)
	stop := ctx.Done()
	for wasBlocked := false; ; {
		select {
		case <-confirm.Done():
			return s.outcome(confirm, id)
		case <-stop:
			if s.alarm.Raised() {
				return event.ErrUnavailable
			}
			stop = nil // a broker that takes messages confirms this one, or is late
		case <-look:
			blocked := s.alarm.Raised()
			switch {
			case !blocked && !wasBlocked: // an alarm that is over leaves as much time again
				s.end(errNoConfirm)
				return event.ErrUnavailable
			case ctx.Err() != nil:
				return event.ErrUnavailable
			}
			wasBlocked = blocked
		}
	}
}

// outcome reads a finished confirm. A return always arrives before the confirm of the same message.
func (s *session) outcome(confirm *amqp.DeferredConfirmation, id string) error {
	for len(s.returns) > 0 {
		if r := <-s.returns; r.MessageId == id {
			return event.ErrUnroutable
		}
	}
	switch {
	case confirm.Acked():
		return nil
	case s.conn.IsClosed():
		return event.ErrUnavailable // the library ends open confirms as "not acked" when a connection is lost
	case s.channel.IsClosed():
		s.declaredAt = time.Time{}
		if why := cmp.Or(<-s.closed, amqp.ErrClosed); why.Code != amqp.NotFound { // which says nothing about the copy
			return fmt.Errorf("%w: the broker closes the channel for it with code %d", event.ErrRejected, why.Code)
		}
		return event.ErrUnavailable
	default:
		return event.ErrRefused
	}
}

// declare declares the old topology. A refusal is event.ErrUnroutable, and everything else event.ErrUnavailable.
func (s *session) declare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.sender.patience)
	defer cancel()
	log := s.sender.options.Log.With().Str("exchange", Exchange).Logger()
	_, err := eventmq.Within(ctx, func() (struct{}, error) { return struct{}{}, eventmq.OnChannel(s.conn, Declare) })
	refusal, ok := errors.AsType[*amqp.Error](err)
	switch {
	case err == nil:
		if s.declaredAt.IsZero() && !s.sender.declares {
			log.Info().Msg("declared the old topology for a late copy")
		}
		s.declaredAt = time.Now()
		return nil
	case ok && refusal.Server && !s.conn.IsClosed():
		log.Error().Err(err).Msg("legacy copies wait: the old topology cannot be declared")
		return fmt.Errorf("%w: %w", event.ErrUnroutable, err)
	case !s.alarm.Raised(): // under an alarm the broker does not respond, and is alive
		s.end(err)
	}
	return fmt.Errorf("%w: %w", event.ErrUnavailable, err)
}

// Declare creates what is missing of the previous release's topology, exactly as it declares it itself.
func Declare(ch *amqp.Channel) error {
	if err := ch.ExchangeDeclare(Exchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return fmt.Errorf("legacy: declaring exchange %s: %w", Exchange, err)
	}
	if _, err := ch.QueueDeclare(Queue, true, false, false, false, nil); err != nil {
		return fmt.Errorf("legacy: declaring queue %s: %w", Queue, err)
	}
	if err := ch.QueueBind(Queue, "", Exchange, false, nil); err != nil {
		return fmt.Errorf("legacy: binding %s to %s: %w", Queue, Exchange, err)
	}
	return nil
}
