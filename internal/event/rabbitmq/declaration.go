package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// healDelay is how long after an unroutable message its topology is declared anew. Not at once: a quorum queue that is
// declared again within some 30 ms of its deletion (measured on 3.10) keeps its consumers in name only; they are not
// cancelled, and get nothing for ever. A refused topology is not asked for again any sooner, either.
const healDelay = time.Second

// freshFor is for how long an Other counts as there once it has been declared. What is published to it can be routed to
// somebody else's queue alone: the broker then confirms it and returns nothing, so that only asking shows what is missing.
const freshFor = time.Second

// declaration is a topology as one publishing session knows it.
type declaration struct {
	Topology
	atOnce   bool
	freshFor time.Duration // 0: as long as the session lives
	healing  atomic.Bool
	// The rest belongs to the goroutine that publishes.
	declaredAt time.Time // zero: never
	refusal    error     // the broker's last answer, when it was no
	refusedAt  time.Time
}

// fresh tells whether d has been declared, and that lately enough.
func (d *declaration) fresh() bool {
	return !d.declaredAt.IsZero() && (d.freshFor == 0 || time.Since(d.declaredAt) < d.freshFor)
}

// declarationOf answers what has to be there before somebody publishes to exchange; nil for an exchange nobody knows.
// The default exchange addresses the queues of the first.
func (s *publishSession) declarationOf(exchange string) *declaration {
	if exchange == "" {
		return s.declarations[0]
	}
	for _, d := range s.declarations {
		if d.declares(exchange) {
			return d
		}
	}
	return nil
}

// reach makes sure that exchange, and what it needs, is there as far as this session knows. It answers event.ErrUnroutable where it cannot
// be, which is that message's own affair, and event.ErrUnavailable where the connection is at fault.
func (s *publishSession) reach(ctx context.Context, exchange string) error {
	d := s.declarationOf(exchange)
	switch {
	case d == nil:
		return fmt.Errorf("%w: exchange %q is in no topology of this process", event.ErrUnroutable, exchange)
	case d.fresh():
		return nil
	case d.refusal != nil && time.Since(d.refusedAt) < healDelay:
		return d.refusal
	}
	return s.declare(ctx, d, exchange)
}

// declareAtOnce declares what shall be there without being asked for. A refusal is logged, and known when a message
// comes; an error means that the connection is at fault.
func (s *publishSession) declareAtOnce(ctx context.Context) error {
	for _, d := range s.declarations {
		if !d.atOnce {
			continue
		}
		if err := s.declare(ctx, d, d.exchanges[0].Name); errors.Is(err, event.ErrUnavailable) {
			return err
		}
	}
	return nil
}

// declare declares one topology. Everything else waits meanwhile, for confirmTimeout at most.
func (s *publishSession) declare(ctx context.Context, d *declaration, exchange string) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	err := within(ctx, func() error { return d.declareOn(s.conn) })
	log := s.publisher.options.Log
	if err == nil {
		first := d.declaredAt.IsZero()
		d.declaredAt, d.refusal = time.Now(), nil
		if first && !d.atOnce {
			log.Info().Str("exchange", exchange).Msg("declared for a message that is sent to it")
		}
		return nil
	}
	if refusal, ok := errors.AsType[*amqp.Error](err); !ok || !refusal.Server || s.conn.IsClosed() {
		return fmt.Errorf("%w: %w", event.ErrUnavailable, err)
	}
	log.Error().Err(err).Str("exchange", exchange).Msg("messages to this exchange wait: what it needs cannot be declared")
	d.refusal, d.refusedAt = fmt.Errorf("%w: %w", event.ErrUnroutable, err), time.Now()
	return d.refusal
}

// heal has what exchange needs declared anew after healDelay: somebody has deleted a queue or binding.
func (s *publishSession) heal(exchange string) {
	d := s.declarationOf(exchange)
	if !d.healing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(healDelay, func() {
		defer d.healing.Store(false)
		select {
		case <-s.ended: // the next connection declares it anyway
			return
		default:
		}
		if err := d.declareOn(s.conn); err != nil {
			s.publisher.options.Log.Error().Err(err).Str("exchange", exchange).Msg("a message was unroutable and the topology cannot be declared")
			return
		}
		s.publisher.options.Log.Warn().Str("exchange", exchange).Msg("a message was unroutable; the topology has been declared anew")
	})
}
