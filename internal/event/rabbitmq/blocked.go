package rabbitmq

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// watchBlocked keeps the broker's own reason for taking no messages (memory or disk alarm). The broker sends it when it
// gets the first one, which it then takes once the alarm is over: also when the connection has been closed meanwhile,
// because it reads on what had arrived.
func (s *publishSession) watchBlocked(notices <-chan amqp.Blocking) {
	log := s.publisher.options.Log
	for n := range notices {
		if n.Active {
			s.blocked.Store(&n.Reason)
			log.Warn().Str("reason", n.Reason).Msg("rabbitmq takes no messages; the outbox keeps them")
		} else {
			s.blocked.Store(nil)
			log.Info().Msg("rabbitmq takes messages again")
		}
	}
}

// late ends the wait for a message whose confirm has not come in time: it is sent again with the same id. A broker that
// has said why it takes nothing is alive, and keeps its connection.
func (s *publishSession) late(p pending, cancel context.CancelCauseFunc) {
	if s.blocked.Load() == nil {
		cancel(errNoConfirm)
	}
	p.done(event.ErrUnavailable)
}
