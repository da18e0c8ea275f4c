package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// ExchangeHealth is the exchange as the broker has just confirmed it; only its name when it has not.
type ExchangeHealth struct {
	Name    string `json:"exchange"`
	Type    string `json:"type"`
	Durable bool   `json:"durable"`
	// Lacks names permissions that are missing where the work goes on without them.
	Lacks []string `json:"lacks,omitempty"`
}

// Errors of Check.
var (
	ErrNotConnected = errors.New("not connected to rabbitmq; reconnecting")
	ErrNoAnswer     = errors.New("rabbitmq is connected but does not answer")
	ErrNoConfirms   = errors.New("rabbitmq does not take messages: a queue is full, or the queues have lost their quorum")
)

// doubtedFor is how long a missing confirm counts while nothing else is published. While messages wait, every try renews
// it, and they pause for a minute at most.
const doubtedFor = 70 * time.Second

// Check returns an error, in plain words, unless messages can be published: the exchange must be what it has to be, and
// the last message must have been confirmed, and not been refused for lack of a permission. A passive declaration would
// not reveal a wrong type, so it declares actively where that is permitted. It returns when ctx ends at the latest.
func (p *Publisher) Check(ctx context.Context) (ExchangeHealth, error) {
	unknown := ExchangeHealth{Name: event.Exchange}
	s := p.live.Load()
	if at := p.unconfirmed.Load(); at != 0 && time.Since(time.Unix(0, at)) < doubtedFor {
		return unknown, ErrNoConfirms
	}
	if s == nil {
		if refusal := p.refusal.Load(); refusal != nil {
			return unknown, fmt.Errorf("%w; the last connection ended with: %w", ErrNotConnected, rabbitmq.Plain(*refusal))
		}
		return unknown, ErrNotConnected
	}
	if err := s.alarm.Err(); err != nil {
		return unknown, err
	}
	if outcome := p.outcome.Load(); outcome != nil {
		return unknown, *outcome
	}
	lacks, err := p.checkExchange(ctx, s.conn)
	switch {
	case err != nil:
		return unknown, rabbitmq.Plain(err)
	case len(lacks) > 0: // of which kind it is cannot be seen
		unknown.Lacks = lacks
		return unknown, nil
	default:
		return ExchangeHealth{Name: event.Exchange, Type: amqp.ExchangeTopic, Durable: true}, nil
	}
}

// checkExchange also returns which permissions the last whole declaration found missing, unless the exchange is ours to
// configure again.
func (p *Publisher) checkExchange(ctx context.Context, conn *amqp.Connection) (lacks []string, err error) {
	lacks, err = Within(ctx, func() ([]string, error) { return checkExchange(conn) })
	if err != nil {
		return nil, err
	}
	if found := p.lacks.Load(); found != nil && len(lacks) > 0 {
		for _, lack := range *found {
			if !slices.Contains(lacks, lack) {
				lacks = append(lacks, lack)
			}
		}
	}
	return lacks, nil
}

// Depths returns how full the queues of these names are, at most as late as ctx. One that does not exist is not in it.
func (p *Publisher) Depths(ctx context.Context, names []string) (map[string]event.Depth, error) {
	s := p.live.Load()
	if s == nil {
		return nil, ErrNotConnected
	}
	if err := s.alarm.Err(); err != nil { // the broker reads nothing from us now: every question would only wait
		return nil, err
	}
	return Within(ctx, func() (map[string]event.Depth, error) { return depths(s.conn, names) })
}

// depths asks on a channel of its own, and on another one after each queue that does not exist: that closes the channel.
func depths(conn *amqp.Connection, names []string) (map[string]event.Depth, error) {
	found := make(map[string]event.Depth, len(names))
	for asked := 0; asked < len(names); {
		err := OnChannel(conn, func(ch *amqp.Channel) error {
			for asked < len(names) {
				name := names[asked]
				asked++
				q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
				if err != nil {
					return about(name, err)
				}
				found[name] = event.Depth{Ready: q.Messages, Consumers: q.Consumers}
			}
			return nil
		})
		if err != nil && !missing(err) {
			return nil, err
		}
	}
	return found, nil
}

// Within returns what ask returns, or ErrNoAnswer when it has not returned by the end of ctx. The library's questions
// know no deadline; ask itself ends with the connection at the latest.
func Within[T any](ctx context.Context, ask func() (T, error)) (reply T, err error) {
	type result struct {
		reply T
		err   error
	}
	asked := make(chan result, 1)
	go func() {
		reply, err := ask()
		asked <- result{reply, err}
	}()
	select {
	case r := <-asked:
		return r.reply, r.err
	case <-ctx.Done():
		return reply, ErrNoAnswer
	}
}

// checkExchange declares event.Exchange. Where that is not permitted it is looked at, which does not reveal its type.
func checkExchange(conn *amqp.Connection) (lacks []string, err error) {
	d := &declaration{Topology: NewTopology(nil), conn: conn}
	if err := d.exchange(d.exchanges[0]); err != nil {
		if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.PreconditionFailed {
			return nil, fmt.Errorf("the exchange is not a durable topic exchange: %w", err)
		}
		return nil, err
	}
	return d.lacks, d.end()
}

// OnChannel asks the broker on a channel of its own, because a refusal closes its channel.
func OnChannel(conn *amqp.Connection, ask func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ask(ch); err != nil {
		return err
	}
	return ch.Close()
}
