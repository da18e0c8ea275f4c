package rabbitmq

import (
	"context"
	"errors"
	"fmt"

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
// declaration would not reveal a wrong type, so it declares actively. The answer is at most as late as ctx.
func (p *Publisher) Check(ctx context.Context) (ExchangeHealth, error) {
	unknown := ExchangeHealth{Name: event.Exchange}
	s := p.live.Load()
	if s == nil {
		if refusal := p.refusal.Load(); refusal != nil {
			return unknown, fmt.Errorf("%w; the last connection ended with: %w", ErrNotConnected, *refusal)
		}
		return unknown, ErrNotConnected
	}
	if reason := s.blocked.Load(); reason != nil {
		return unknown, fmt.Errorf("rabbitmq takes no messages: %s", *reason)
	}
	answer := make(chan error, 1)
	go func() { answer <- checkExchange(s.conn) }() // ends with the connection at the latest
	select {
	case err := <-answer:
		if err != nil {
			return unknown, err
		}
		return ExchangeHealth{Name: event.Exchange, Type: amqp.ExchangeTopic, Durable: true}, nil
	case <-ctx.Done():
		return unknown, ErrNoAnswer
	}
}

func checkExchange(conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq opens no channel: %w", err)
	}
	if err := ch.ExchangeDeclare(event.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("the exchange is not a durable topic exchange: %w", err)
	}
	return ch.Close()
}
