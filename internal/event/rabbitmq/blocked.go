package rabbitmq

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// watchBlocked keeps the broker's own word on why it takes no messages (memory or disk alarm). It says so when it gets
// the first one, which it then takes once the alarm is over: also when the connection has been closed meanwhile, because
// it reads on what had arrived.
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

// late answers a message whose confirm has not come in time. A broker that says why is alive: then the connection stays,
// and a message whose repeats are recognised is sent again with the same id.
func (s *publishSession) late(p pending, cancel context.CancelCauseFunc) {
	switch {
	case s.blocked.Load() == nil:
		cancel(errNoConfirm)
		p.done(event.ErrUnavailable)
	case p.message.Single:
		s.overdue.Go(func() { p.done(s.outlast(p, confirmTimeout, cancel)) })
	default:
		p.done(event.ErrUnavailable)
	}
}

// outlast waits for the confirm of a single until the alarm is over, and at least patience longer; until its Send's
// context ends; or until the connection does.
func (s *publishSession) outlast(p pending, patience time.Duration, cancel context.CancelCauseFunc) error {
	look := time.NewTicker(patience)
	defer look.Stop()
	for blocked := true; ; {
		select {
		case <-p.confirm.Done():
			return s.outcome(p)
		case <-p.ctx.Done():
			return event.ErrUnavailable
		case <-look.C:
		}
		if !blocked { // at the last look already
			cancel(errNoConfirm)
			return event.ErrUnavailable
		}
		blocked = s.blocked.Load() != nil
	}
}
