package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// isolateTimeout bounds the search for messages at fault, so that a Send stays shorter than a row's lease.
const isolateTimeout = 5 * time.Second

// trial finds the messages for which the broker closes a channel. It uses channels of its own, one after the other, so
// that nothing else is on them.
type trial struct {
	*publishSession
	messages []event.Message
	results  []error
	link     *link // nil, or open with nothing unconfirmed
	timer    *time.Timer
}

// isolate sends again, with the same ids, every message whose result is errChannelClosed: by halves, until each that is
// at fault stands alone. No result is errChannelClosed afterwards.
func (s *publishSession) isolate(ctx context.Context, messages []event.Message, results []error) {
	var suspects, known []int
	for i, err := range results {
		switch {
		case !errors.Is(err, errChannelClosed):
		case messages[i].Alone:
			known = append(known, i)
		default:
			suspects = append(suspects, i)
		}
	}
	if len(suspects)+len(known) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, isolateTimeout)
	defer cancel()
	t := &trial{publishSession: s, messages: messages, results: results, timer: time.NewTimer(confirmTimeout)}
	defer t.timer.Stop()
	// What is at fault often shares exchange and key, as where a permission is missing: side by side it is found sooner.
	slices.SortStableFunc(suspects, func(a, b int) int {
		return cmp.Or(cmp.Compare(messages[a].Exchange, messages[b].Exchange),
			cmp.Compare(messages[a].RoutingKey, messages[b].RoutingKey))
	})
	for group := range slices.Chunk(suspects, window) {
		t.halve(ctx, group)
	}
	for _, i := range known {
		t.try(ctx, []int{i})
	}
	if t.link != nil {
		_ = t.link.channel.Close() // or it goes with the connection
	}
}

// halve tries both halves of group, which is known to hold a message at fault.
func (t *trial) halve(ctx context.Context, group []int) {
	middle := len(group) / 2
	for _, half := range [][]int{group[:middle], group[middle:]} {
		if len(half) > 0 {
			t.try(ctx, half)
		}
	}
}

// try sends group on a channel of its own, and what the broker did not confirm again by halves.
func (t *trial) try(ctx context.Context, group []int) {
	closed := t.send(ctx, group)
	left := slices.DeleteFunc(slices.Clone(group), func(i int) bool { return !errors.Is(t.results[i], errChannelClosed) })
	switch {
	case len(left) == 0:
	case t.conn.IsClosed():
		t.fail(left, event.ErrUnavailable)
	case closed.Code == amqp.NotFound: // an exchange of ours was deleted: that says nothing about any of them
		t.heal()
		t.fail(left, fmt.Errorf("%w: an exchange is missing", event.ErrUnavailable))
	case len(group) == 1 && closed.Code == amqp.AccessRefused:
		t.fail(left, writeRefused(t.messages[left[0]]))
	case len(group) == 1:
		t.fail(left, fmt.Errorf("%w: the broker closes the channel for it with code %d", event.ErrRejected, closed.Code))
	default:
		t.halve(ctx, left)
	}
}

// send sets the results of group. Where the broker closes the channel it returns why.
func (t *trial) send(ctx context.Context, group []int) amqp.Error {
	if err := t.open(ctx); err != nil {
		t.fail(group, fmt.Errorf("%w: %w", event.ErrUnavailable, err))
		return amqp.Error{}
	}
	sent := make([]pending, 0, len(group))
	for _, i := range group {
		m := &t.messages[i]
		if t.results[i] = t.refuse(*m); t.results[i] != nil {
			continue
		}
		confirm, err := t.link.publish(*m)
		if err != nil {
			t.results[i] = errChannelClosed // by one before it
			if !errors.Is(err, amqp.ErrClosed) {
				t.results[i] = fmt.Errorf("%w: %w", event.ErrUnavailable, err)
			}
			continue
		}
		done := func(err error) { t.results[i] = err }
		sent = append(sent, pending{
			request: request{message: m, done: done},
			link:    t.link,
			confirm: confirm,
			sentAt:  time.Now(),
		})
	}
	for _, p := range sent {
		p.done(t.await(p, t.timer))
	}
	if !t.link.channel.IsClosed() {
		return amqp.Error{}
	}
	closed := <-t.link.closed
	t.link = nil
	return *cmp.Or(closed, amqp.ErrClosed)
}

// open makes sure that there is a channel.
func (t *trial) open(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case t.alarm.Raised():
		return t.alarm.Err()
	case t.link != nil:
		return nil
	}
	var err error
	t.link, err = Within(ctx, func() (*link, error) { return openLink(t.conn) })
	return err
}

func (t *trial) fail(group []int, err error) {
	for _, i := range group {
		t.results[i] = err
	}
}
