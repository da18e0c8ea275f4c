package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// ExchangeHealth is the exchange as the broker has just confirmed it; only its name when it has not.
type ExchangeHealth struct {
	Name    string `json:"exchange"`
	Type    string `json:"type"`
	Durable bool   `json:"durable"`
}

// Errors of Check.
var (
	ErrNotConnected = errors.New("not connected to rabbitmq; reconnecting")
	ErrNoAnswer     = errors.New("rabbitmq is connected but does not answer")
)

// Check asks the broker, on the connection that publishes, whether the exchange is what it must be. A passive
// declaration would not reveal a wrong type, so it declares actively. It returns when ctx ends at the latest.
func (p *Publisher) Check(ctx context.Context) (ExchangeHealth, error) {
	unknown := ExchangeHealth{Name: event.Exchange}
	s := p.live.Load()
	if s == nil {
		if refusal := p.refusal.Load(); refusal != nil {
			return unknown, fmt.Errorf("%w; the last connection ended with: %w", ErrNotConnected, *refusal)
		}
		return unknown, ErrNotConnected
	}
	if err := s.alarm.Err(); err != nil {
		return unknown, err
	}
	if err := Within(ctx, func() error { return checkExchange(s.conn) }); err != nil {
		return unknown, err
	}
	return ExchangeHealth{Name: event.Exchange, Type: amqp.ExchangeTopic, Durable: true}, nil
}

// DeadLetters returns how many messages lie in q's dead queue, at most as late as ctx.
func (p *Publisher) DeadLetters(ctx context.Context, q event.Queue) (int, error) {
	s := p.live.Load()
	if s == nil {
		return 0, ErrNotConnected
	}
	if err := s.alarm.Err(); err != nil { // the broker reads nothing from us now: every question would only wait
		return 0, err
	}
	var messages atomic.Int64
	err := Within(ctx, func() error {
		return OnChannel(s.conn, func(ch *amqp.Channel) error {
			state, err := ch.QueueDeclarePassive(q.DeadQueue(), true, false, false, false, nil)
			messages.Store(int64(state.Messages))
			return about(q.DeadQueue(), err)
		})
	})
	return int(messages.Load()), err
}

// Within returns ErrNoAnswer when ask has not ended with ctx. The library's questions know no deadline; ask itself ends
// with the connection at the latest.
func Within(ctx context.Context, ask func() error) error {
	result := make(chan error, 1)
	go func() { result <- ask() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ErrNoAnswer
	}
}

func checkExchange(conn *amqp.Connection) error {
	return OnChannel(conn, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(event.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("the exchange is not a durable topic exchange: %w", err)
		}
		return nil
	})
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
