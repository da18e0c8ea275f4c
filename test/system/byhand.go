package system

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// OnBroker runs fn with a connection to the virtual host.
func (s *System) OnBroker(fn func(ch *amqp.Channel) error) {
	s.tb.Helper()
	require.NoError(s.tb, s.onBroker(s.tb.Context(), fn))
}

func (s *System) onBroker(ctx context.Context, fn func(ch *amqp.Channel) error) error {
	conn, err := rabbitmq.Dial(ctx, s.connection("by hand"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was wanted of it is done, or has failed
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return fn(ch)
}

// Publish publishes by hand and waits for the confirms. Without an exchange the key is a queue's name.
func (s *System) Publish(exchange, key string, messages ...amqp.Publishing) {
	s.tb.Helper()
	require.NoError(s.tb, s.TryPublish(s.tb.Context(), exchange, key, messages...))
}

// TryPublish is Publish for other goroutines than the test's own.
func (s *System) TryPublish(ctx context.Context, exchange, key string, messages ...amqp.Publishing) error {
	return s.onBroker(ctx, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		for _, m := range messages {
			confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, m)
			if err != nil {
				return err
			}
			if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
				return fmt.Errorf("not confirmed: %w", err)
			}
		}
		return nil
	})
}

// QueueLength is how many messages a queue holds that nobody is handling.
func (s *System) QueueLength(queue string) (n int) {
	s.tb.Helper()
	s.OnBroker(func(ch *amqp.Channel) error {
		state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = state.Messages
		return err
	})
	return n
}
