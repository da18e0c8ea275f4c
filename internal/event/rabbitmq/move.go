package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// moveRetry is the pause between tries to publish to a retry or dead queue while the broker takes nothing.
const moveRetry = 500 * time.Millisecond

// maxRejections is how often a message may fail by its own fault before it counts as one that cannot be moved.
const maxRejections = 3

// Movement is what Move has done.
type Movement int

// The movements.
const (
	NotMoved  Movement = iota // stop or life has ended first
	Moved                     // it is there
	Unmovable                 // the message itself cannot be published
)

// Move publishes m to one of our own queues. While the broker takes nothing, or the queue is full, it tries again, until
// stop ends, or life, which is that of the connection the message came on. Only what is the message's own fault counts
// ([event.ErrRejected]).
func Move(stop, life context.Context, s event.Sender, m event.Message, log zerolog.Logger) Movement {
	rejections := 0
	for tries := 0; ; tries++ {
		err := s.Send(context.WithoutCancel(life), []event.Message{m})[0]
		if err == nil {
			return Moved
		}
		if errors.Is(err, event.ErrRejected) {
			m.Alone = true // others' channel is left alone from now on
			if rejections++; rejections == maxRejections {
				return Unmovable
			}
		}
		if tries == 0 {
			log.Warn().Err(rabbitmq.Plain(err)).Str("event_id", m.ID).Str("to", m.RoutingKey).
				Msg("a message cannot be moved yet; retrying, with its handler's place taken")
		}
		select {
		case <-time.After(moveRetry):
		case <-life.Done():
			return NotMoved
		case <-stop.Done():
			return NotMoved
		}
	}
}

// unsettled knows since when finished deliveries wait to be moved and acked.
type unsettled struct {
	mu    sync.Mutex
	since map[*time.Time]struct{}
}

// begin notes one more. It waits until end is called.
func (u *unsettled) begin(now time.Time) (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[*time.Time]struct{}{}
	}
	u.since[&now] = struct{}{}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.since, &now)
	}
}

// longest returns how long the oldest has waited.
func (u *unsettled) longest(now time.Time) (wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for since := range u.since {
		wait = max(wait, now.Sub(*since))
	}
	return wait
}

// GiveBack ends the consumer on ch first and gives back second: the other way round the broker would hand the same
// messages to us again, until they count as a crash loop. unbegun are those already read from deliveries.
func GiveBack(ch *amqp.Channel, deliveries <-chan amqp.Delivery, unbegun ...amqp.Delivery) error {
	rest, err := cancelConsumer(ch, deliveries)
	if err != nil {
		return err
	}
	for _, d := range append(unbegun, rest...) {
		if err := d.Nack(false, true); err != nil {
			return fmt.Errorf("rabbitmq: giving back a message: %w", err)
		}
	}
	return nil
}

// cancelConsumer ends the consumer on ch and returns what it had been sent and not read.
func cancelConsumer(ch *amqp.Channel, deliveries <-chan amqp.Delivery) (unread []amqp.Delivery, err error) {
	if err := ch.Cancel(event.Service, false); err != nil {
		return nil, fmt.Errorf("rabbitmq: cancelling a consumer: %w", err)
	}
	for d := range deliveries {
		unread = append(unread, d)
	}
	return unread, nil
}
