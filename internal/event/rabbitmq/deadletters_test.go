package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	onServer(t, map[string]func(*testing.T){
		"they are listed, replayed and removed":     deadLetterHandlings,
		"of the broker's own making":                deadByBroker,
		"listing loses nothing and keeps the order": deadListing,
		"any number of them":                        manyLetters,
		"one look at a time":                        oneWalk,
		"what is refused stays":                     refusedReplay,
		"a replay that has begun is ended":          stoppedReplay,
	})
	t.Run("a queue that is not ours is refused", func(t *testing.T) {
		t.Parallel()
		d := NewDeadLetters(options("amqp://127.0.0.1:1", t.Name()), []event.Queue{{Name: "identity.email"}})
		_, err := d.Walk(context.Background(), "analytics", nil, nil)
		require.ErrorIs(t, err, ErrNoSuchQueue)
		require.ErrorContains(t, err, "identity.email", "the error names the choice")
	})
}

// bury lets a consumer dead-letter the messages, in order.
func bury(t *testing.T, p *Publisher, q event.Queue, messages ...event.Message) {
	t.Helper()
	r := startConsumer(t, brokerURL(t), p, time.Second, q, func(context.Context, event.Delivery) error {
		return event.Permanent(event.ReasonRejected, errors.New("never"))
	})
	for _, err := range eventtest.SendAll(t, p, messages...) {
		require.NoError(t, err)
	}
	for range messages {
		require.Equal(t, event.Dead, eventtest.Next(t, r.Seen).Decision.Action)
	}
	r.stop(t)
}

func deadLetterHandlings(t *testing.T) {
	q := newQueue(t, 1, 10)
	p := startPublisher(t, brokerURL(t), q)
	keep, remove, replay := messageTo(q, "keep"), messageTo(q, "remove"), messageTo(q, "replay")
	replay.Headers["x-own"] = "kept"
	bury(t, p, q, keep, remove, replay, messageTo(q, "untouched"))

	d := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q})
	var gone []string
	settled := func(l event.DeadLetter) { gone = append(gone, l.EventID) }
	seen, err := d.Walk(context.Background(), q.Name, func(l Letter) (Handling, error) {
		require.Equal(t, q.Name+".key", l.RoutingKey)
		require.NotZero(t, l.BodyBytes)
		switch l.EventID {
		case "remove":
			return Remove, nil
		case "replay":
			return Replay, nil
		}
		return Keep, nil
	}, settled)
	require.NoError(t, err)
	require.Equal(t, 4, seen)
	require.Equal(t, []string{"remove", "replay"}, gone)
	require.Equal(t, []string{"keep", "untouched"}, deadIDs(t, q))
	const absent = "identity.test-absent"
	depths, err := p.Depths(context.Background(), []string{absent, q.Name, absent, q.DeadQueue()})
	require.NoError(t, err)
	require.Equal(t, map[string]event.Depth{q.Name: {Ready: 1}, q.DeadQueue(): {Ready: 2}}, depths,
		"a queue that does not exist costs a channel and no figure")

	again := startConsumer(t, brokerURL(t), p, time.Second, q, func(context.Context, event.Delivery) error {
		return errors.New("fails as if for the first time")
	})
	replayed := eventtest.Next(t, again.Seen)
	require.Equal(t, "replay", replayed.Delivery.ID)
	require.Equal(t, q.Name+".key", replayed.Delivery.RoutingKey)
	require.Equal(t, replay.Body, replayed.Delivery.Body)
	require.Equal(t, "kept", replayed.Delivery.Headers["x-own"])
	require.Zero(t, replayed.Delivery.Attempts())
	require.True(t, replayed.Delivery.FirstFailed().IsZero())
	require.NotContains(t, replayed.Delivery.Headers, event.HeaderDeadReason)
	require.Equal(t, event.Retry, replayed.Decision.Action, "the age of the first life is forgotten")

	stop := errors.New("enough")
	seen, err = d.Walk(context.Background(), q.Name, func(Letter) (Handling, error) {
		return Remove, stop
	}, settled)
	require.ErrorIs(t, err, stop)
	require.Equal(t, 1, seen)
	require.Len(t, gone, 2, "told of nothing that has not happened")
	require.Equal(t, []string{"keep", "untouched"}, deadIDs(t, q), "an error handles nothing")
}

func deadIDs(t *testing.T, q event.Queue) (ids []string) {
	t.Helper()
	letters, err := list(t, q.Name, q)
	require.NoError(t, err)
	for _, l := range letters {
		ids = append(ids, l.EventID)
	}
	return ids
}

// deadByBroker: the two ways in which the broker dead-letters by itself. Only x-death knows the key then.
func deadByBroker(t *testing.T) {
	q := newQueue(t, 1, 1)
	p := startPublisher(t, brokerURL(t), q)
	raw := rawChannel(t)
	retried := messageTo(q, "retried once") // came back from a retry level: the default exchange, the key in a header
	retried = retried.Moved(q.Name, map[string]string{event.HeaderRoutingKey: retried.RoutingKey, event.HeaderAttempts: "1"})
	require.Equal(t, []error{nil, nil}, eventtest.SendAll(t, p, messageTo(q, "rejected"), retried))
	for range 2 {
		d := rawGet(t, raw, q.Name)
		require.NoError(t, d.Nack(false, false))
	}
	require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, "handed out")))
	for range deliveryLimit + 1 {
		d := rawGet(t, raw, q.Name)
		require.Equal(t, "handed out", d.MessageId)
		require.NoError(t, d.Nack(false, true))
	}
	var letters []event.DeadLetter
	require.Eventually(t, func() bool { // at-least-once dead-lettering takes its time
		var err error
		letters, err = list(t, q.Name, q)
		require.NoError(t, err)
		return len(letters) == 3
	}, 10*time.Second, 50*time.Millisecond)
	reasons := map[string]string{}
	for _, l := range letters {
		reasons[l.EventID] = l.Reason
		require.Equal(t, q.Name+".key", l.RoutingKey, l.EventID)
	}
	require.Equal(t, map[string]string{
		"rejected": "unsendable", "retried once": "unsendable", "handed out": "delivery_limit",
	}, reasons)

	seen, err := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q}).Walk(context.Background(), q.Name,
		func(Letter) (Handling, error) { return Replay, nil }, func(event.DeadLetter) {})
	require.NoError(t, err)
	require.Equal(t, 3, seen)
	for range 3 {
		m := ToMessage(rawGet(t, raw, q.Name))
		require.Equal(t, q.Name+".key", m.RoutingKey)
		require.Zero(t, m.Attempts())
	}
	require.Empty(t, deadIDs(t, q))
}

func deadListing(t *testing.T) {
	q := newQueue(t, 1, 50)
	p := startPublisher(t, brokerURL(t), q)
	messages := make([]event.Message, 100)
	want := make([]string, len(messages))
	for i := range messages {
		want[i] = fmt.Sprint(i)
		messages[i] = messageTo(q, want[i])
	}
	bury(t, p, q, messages...)
	for look := range 25 {
		require.Equal(t, want, deadIDs(t, q), "look %d", look)
	}
}

// manyLetters: more than one consumer may hold, and more than a quorum queue hands to one without prefetch.
func manyLetters(t *testing.T) {
	q := newQueue(t, 1, 50)
	declare(t, q)
	raw := rawChannel(t)
	require.NoError(t, raw.Confirm(false))
	want := make([]string, 2*minStage+501)
	var last *amqp.DeferredConfirmation
	for i := range want {
		want[i] = fmt.Sprint(i)
		m := messageTo(q, want[i]).Moved(q.DeadQueue(), map[string]string{event.HeaderDeadReason: event.ReasonInvalid})
		var err error
		last, err = raw.PublishWithDeferredConfirm("", q.DeadQueue(), true, false, ToPublishing(m))
		require.NoError(t, err)
	}
	require.True(t, last.Wait())
	for range 3 {
		require.Equal(t, want, deadIDs(t, q))
	}
	d := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q})
	var gone []string
	seen, err := d.Walk(t.Context(), q.Name, func(l Letter) (Handling, error) {
		if n := len(l.EventID); l.EventID[n-1] == '7' || l.EventID == want[len(want)-1] {
			return Remove, nil
		}
		return Keep, nil
	}, func(l event.DeadLetter) { gone = append(gone, l.EventID) })
	require.NoError(t, err)
	require.Equal(t, len(want), seen)
	require.Equal(t, want[len(want)-1], gone[len(gone)-1], "the last one is found")
	left := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(gone, id) })
	require.Equal(t, left, deadIDs(t, q), "the others keep their order")

	stop := errors.New("enough")
	seen, err = d.Walk(t.Context(), q.Name, func(l Letter) (Handling, error) {
		if l.EventID == left[minStage+5] {
			return Keep, stop
		}
		return Keep, nil
	}, nil)
	require.ErrorIs(t, err, stop)
	require.Equal(t, minStage+6, seen)
	require.Equal(t, left, deadIDs(t, q))
}

// oneWalk: a second look at the same time would see other letters than there are.
func oneWalk(t *testing.T) {
	q := newQueue(t, 1, 50)
	bury(t, startPublisher(t, brokerURL(t), q), q, messageTo(q, "one"), messageTo(q, "two"))
	d := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q})
	_, err := d.Walk(t.Context(), q.Name, func(Letter) (Handling, error) {
		_, second := d.Walk(t.Context(), q.Name, nil, nil)
		require.ErrorIs(t, second, ErrBusy)
		return Keep, nil
	}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, deadIDs(t, q))
}

// refusedReplay: what is about one letter ends a walk only where nobody is told of it.
func refusedReplay(t *testing.T) {
	q := newQueue(t, 1, 50)
	bury(t, startPublisher(t, brokerURL(t), q), q, messageTo(q, "one"), messageTo(q, "two"))
	_, err := rawChannel(t).QueueDelete(q.Name, false, false, false)
	require.NoError(t, err)
	d := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q})
	all := func(Letter) (Handling, error) { return Replay, nil }
	var refused []string
	d.Refused = func(l event.DeadLetter, err error) error {
		require.ErrorIs(t, err, event.ErrUnroutable)
		refused = append(refused, l.EventID)
		return nil
	}
	_, err = d.Walk(t.Context(), q.Name, all, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, refused)
	require.Equal(t, []string{"one", "two"}, deadIDs(t, q))
	d.Refused = nil
	seen, err := d.Walk(t.Context(), q.Name, all, nil)
	require.ErrorIs(t, err, event.ErrUnroutable)
	require.Equal(t, 1, seen)
	require.Equal(t, []string{"one", "two"}, deadIDs(t, q))
}

// stoppedReplay: a walk that is stopped leaves no letter in both queues.
func stoppedReplay(t *testing.T) {
	q := newQueue(t, 1, 50)
	bury(t, startPublisher(t, brokerURL(t), q), q, messageTo(q, "one"), messageTo(q, "two"))
	ctx, stop := context.WithCancel(t.Context())
	var gone []string
	_, err := NewDeadLetters(options(brokerURL(t), t.Name()), []event.Queue{q}).Walk(ctx, q.Name, func(l Letter) (Handling, error) {
		if l.EventID == "two" {
			return Keep, ctx.Err()
		}
		stop()
		return Replay, nil
	}, func(l event.DeadLetter) { gone = append(gone, l.EventID) })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"one"}, gone)
	require.Equal(t, []string{"two"}, deadIDs(t, q))
	require.Equal(t, "one", ToMessage(rawGet(t, rawChannel(t), q.Name)).ID)
}
