package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// behindOthers is our consumers' priority at a source. Every other reader has 0, and is served first (docs/adr/0006).
const behindOthers int32 = -1

// adopt moves a delivery from a source to our own queue, where it is handled.
const adopt event.Action = "adopt"

// source reads Queue.Source while it exists, beside the worker of Queue.Name and for the same handlers. Its channel, its
// generations and its lost acks are its own.
type source struct {
	*worker
	probeEvery time.Duration // while it is missing; a little at first, doubling up to this
	there      bool          // as it was told last
	refused    bool          // the same: it cannot be looked for or read, although it may be there
}

func newSource(w *worker, probeEvery time.Duration) *source {
	s := &source{worker: newWorker(w.options, w.consumer), probeEvery: probeEvery}
	s.reads, s.jobs = w.consumer.Queue.Source, w.jobs // one pool of handlers, so that Queue.Workers holds for both
	return s
}

// follow reads the source whenever it is there, until conn is lost. It never fails: what becomes of somebody else's
// queue ends no session. When stop ends it drains like any other feed.
func (s *source) follow(stop, life context.Context, conn *amqp.Connection) {
	// Soon at first: at its first start a process looks while its publisher is just declaring the queue.
	pause := s.probeEvery / 64
	var ch *amqp.Channel // stays open when the queue is gone: handlers at work still have their acks to send
	var generation uint64
	defer func() { s.detach(generation) }()
	for {
		err := exists(conn, s.reads)
		if err == nil && (ch == nil || ch.IsClosed()) {
			s.detach(generation)
			ch, generation, err = s.open(conn)
		}
		if err == nil {
			pause = s.probeEvery / 64
			err = s.read(stop, life, ch, generation)
		}
		if life.Err() == nil && stop.Err() == nil && !conn.IsClosed() {
			s.tell(false, err)
		}
		probe := time.NewTimer(pause)
		select {
		case <-life.Done():
			probe.Stop()
			return
		case <-stop.Done():
			probe.Stop()
			<-life.Done()
			return
		case <-probe.C:
			pause = min(2*pause, s.probeEvery)
		}
	}
}

// read consumes until the broker ends it, which is an error, or life or stop do.
func (s *source) read(stop, life context.Context, ch *amqp.Channel, generation uint64) error {
	deliveries, err := ch.Consume(s.reads, event.Service, false, false, false, false,
		amqp.Table{"x-priority": behindOthers})
	if err != nil {
		return fmt.Errorf("rabbitmq: consuming %s: %w", s.reads, err)
	}
	s.tell(true, nil)
	return s.handOver(stop, life, ch, generation, deliveries, nil)
}

// exists asks on a channel of its own, because a no closes it.
func exists(conn *amqp.Connection, queue string) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if _, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		return fmt.Errorf("rabbitmq: looking for %s: %w", queue, err)
	}
	return ch.Close()
}

// tell logs when the source comes and goes, and once that it cannot be read although it may be there: messages would
// wait in it then, and nobody know. Every other look at it is for whoever debugs.
func (s *source) tell(there bool, err error) {
	log := s.options.Connection.Log.With().Str("queue", s.reads).Logger()
	refused := !there && isRefusal(err)
	switch {
	case there && !s.there:
		log.Info().Msg("found; it is read from now on, behind its other readers")
	case refused && !s.refused:
		log.Warn().Err(err).Msg("refused; what lies there is not read until the broker permits it")
	case !there && s.there:
		log.Info().Err(err).Msg("gone; it is looked for until it is there again")
	default:
		log.Debug().Err(err).Bool("there", there).Msg("looked for a queue that need not be there")
	}
	if refused != s.refused && s.options.Refused != nil {
		s.options.Refused(s.reads, refused)
	}
	s.there, s.refused = there, refused
}

// isRefusal tells the broker's other answers (403 ACCESS_REFUSED, 406 PRECONDITION_FAILED) from "there is no such queue".
func isRefusal(err error) bool {
	answer, ok := errors.AsType[*amqp.Error](err)
	return ok && answer.Server && answer.Code != amqp.NotFound
}

// foreign tells whether w reads somebody else's queue.
func (w *worker) foreign() bool { return w.reads != w.consumer.Queue.Name }

// adopted is the decision on a delivery that must not stay in a source: one that somebody has begun and not finished.
// A classic queue counts no deliveries, so that a message which kills its handler would go round there for ever, and a
// mail that we have begun is never handed to a reader who remembers nothing. In our own queue both are looked after.
func adopted(d event.Delivery) event.Decision {
	return event.Decision{Action: adopt, Outcome: "adopted", Headers: map[string]string{
		event.HeaderRoutingKey: d.RoutingKey, event.HeaderMoves: strconv.Itoa(d.Moves() + 1),
	}}
}
