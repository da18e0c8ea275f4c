package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// ExchangeHealth is the exchange as the broker has just confirmed it.
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
	health := ExchangeHealth{Name: event.Exchange, Type: amqp.ExchangeTopic, Durable: true}
	s := p.live.Load()
	if s == nil {
		if refusal := p.refusal.Load(); refusal != nil {
			return health, fmt.Errorf("%w; the last connection ended with: %w", ErrNotConnected, *refusal)
		}
		return health, ErrNotConnected
	}
	if reason := s.blocked.Load(); reason != nil {
		return health, fmt.Errorf("rabbitmq takes no messages: %s", *reason)
	}
	answer := make(chan error, 1)
	go func() { answer <- checkExchange(s.conn) }() // ends with the connection at the latest
	select {
	case err := <-answer:
		return health, err
	case <-ctx.Done():
		return health, ErrNoAnswer
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
