package inprocess_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/inprocess"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	eventtest.Conformance(t, func(_ *testing.T, queues []event.Queue, drain time.Duration) eventtest.Subject {
		b := inprocess.New(queues, inprocess.Options{Now: time.Now, DrainTimeout: drain, Log: zerolog.Nop()})
		return eventtest.Subject{
			Sender: b, Consume: b.Consume,
			Dead: func(queue string) ([]event.DeadLetter, error) { return b.Dead(queue), nil },
		}
	})
}

var testQueue = event.Queue{
	Name: "q", Bindings: []string{"a.#"}, Workers: 1,
	Retry: event.Policy{Levels: []time.Duration{time.Hour}, GiveUpAfter: 2 * time.Hour},
}

func newBroker(drain time.Duration) (*inprocess.Broker, *bytes.Buffer) {
	var log bytes.Buffer
	return inprocess.New([]event.Queue{testQueue}, inprocess.Options{
		Now: time.Now, DrainTimeout: drain, Log: zerolog.New(&log),
	}), &log
}

func to(key string) event.Message {
	return event.Message{ID: "evt_" + key, Exchange: event.Exchange, RoutingKey: key, Mandatory: true, Body: []byte("{}")}
}

// consume runs a consumer; the function stops it.
func consume(t *testing.T, b *inprocess.Broker, handle func(context.Context, event.Delivery) error) (*eventtest.Observer, context.CancelFunc, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	seen, ended := eventtest.NewObserver(), make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, []event.Consumer{{Queue: testQueue, Handle: handle, Observer: seen}})
	}()
	return seen, cancel, ended
}

func TestBroker(t *testing.T) {
	t.Parallel()
	t.Run("tells who watches where each message goes, retry levels and dead queues included", func(t *testing.T) {
		t.Parallel()
		moves := make(chan string, 10)
		both := testQueue
		both.Name = "p"
		b := inprocess.New([]event.Queue{testQueue, both}, inprocess.Options{
			Now: time.Now, DrainTimeout: time.Second, Log: zerolog.Nop(),
			Watch: func(m event.Message, queues []string) {
				moves <- m.Exchange + " " + m.ID + " " + strings.Join(queues, ",")
			},
		})
		other := to("b")
		other.Mandatory = false
		require.Equal(t, []error{nil, nil}, b.Send(t.Context(), []event.Message{to("a.b"), other}))
		require.Equal(t, "smap.events evt_a.b p,q", <-moves)
		require.Equal(t, "smap.events evt_b ", <-moves)
		consume(t, b, func(context.Context, event.Delivery) error { return errors.New("not now") })
		require.Equal(t, " evt_a.b q.retry.1h", <-moves)

		require.NoError(t, b.Send(t.Context(), []event.Message{to("a.c")})[0])
		require.Equal(t, "smap.events evt_a.c p,q", <-moves)
	})
	t.Run("an exchange that does not exist is unroutable", func(t *testing.T) {
		t.Parallel()
		b, _ := newBroker(time.Second)
		m := to("a.b")
		m.Exchange, m.Mandatory = "elsewhere", false
		require.ErrorIs(t, b.Send(context.Background(), []event.Message{m})[0], event.ErrUnroutable)
	})
	t.Run("a queue that does not exist cannot be consumed", func(t *testing.T) {
		t.Parallel()
		b, _ := newBroker(time.Second)
		err := b.Consume(context.Background(), []event.Consumer{{Queue: event.Queue{Name: "other", Workers: 1}}})
		require.ErrorContains(t, err, `no queue "other"`)
		require.Nil(t, b.Dead("other"))
	})
	t.Run("dead letters are dropped as they are chosen", func(t *testing.T) {
		t.Parallel()
		b, _ := newBroker(time.Second)
		seen, stop, ended := consume(t, b, func(context.Context, event.Delivery) error {
			return event.Permanent(event.ReasonInvalid, errors.New("no"))
		})
		for _, key := range []string{"a.1", "a.2", "a.3"} {
			require.NoError(t, b.Send(context.Background(), []event.Message{to(key)})[0])
			eventtest.Next(t, seen.Seen)
		}
		b.DropDead("other", func(event.Message) bool { return true })
		var shown []string
		b.DropDead(testQueue.Name, func(m event.Message) bool {
			shown = append(shown, m.ID)
			return m.ID == "evt_a.2"
		})
		require.Equal(t, []string{"evt_a.1", "evt_a.2", "evt_a.3"}, shown)
		require.Len(t, b.Dead(testQueue.Name), 2)
		stop()
		require.NoError(t, <-ended)
	})
	t.Run("a shutdown handles what is ready", func(t *testing.T) {
		t.Parallel()
		b, log := newBroker(time.Minute)
		begun, finish := make(chan struct{}, 3), make(chan struct{})
		seen, stop, ended := consume(t, b, func(_ context.Context, d event.Delivery) error {
			begun <- struct{}{}
			<-finish
			switch d.RoutingKey {
			case "a.retry":
				return errors.New("later")
			case "a.dead":
				return event.Permanent(event.ReasonRejected, errors.New("never"))
			}
			return nil
		})
		for _, err := range eventtest.SendAll(t, b, to("a.first"), to("a.retry"), to("a.dead")) {
			require.NoError(t, err)
		}
		eventtest.Next(t, begun)
		stop()
		require.Eventually(t, func() bool { // from now on the outbox keeps its rows
			m := to("a.late")
			m.RoutingKey = "nobody"
			return errors.Is(b.Send(context.Background(), []event.Message{m})[0], event.ErrUnavailable)
		}, 10*time.Second, time.Millisecond)
		close(finish)
		require.NoError(t, eventtest.Next(t, ended))
		require.Equal(t, event.Ack, eventtest.Next(t, seen.Seen).Decision.Action)
		require.Equal(t, event.Retry, eventtest.Next(t, seen.Seen).Decision.Action)
		require.Equal(t, event.Dead, eventtest.Next(t, seen.Seen).Decision.Action)
		require.Contains(t, log.String(), `"queue":"q","ready":0,"waiting":1,"dead":1`)
	})
	t.Run("what the drain timeout leaves is logged with its count", func(t *testing.T) {
		t.Parallel()
		b, log := newBroker(time.Millisecond)
		begun := make(chan struct{}, 1)
		_, stop, ended := consume(t, b, func(ctx context.Context, _ event.Delivery) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		eventtest.SendAll(t, b, to("a.first"), to("a.second"), to("a.third"))
		eventtest.Next(t, begun)
		stop()
		require.NoError(t, eventtest.Next(t, ended))
		require.Contains(t, log.String(), `"ready":3,"waiting":0,"dead":0`)
		require.NotContains(t, log.String(), "{}", "no bodies in the log")
	})
}

func TestTap(t *testing.T) {
	t.Parallel()
	t.Run("copies what is sent", func(t *testing.T) {
		t.Parallel()
		b, _ := newBroker(time.Second)
		all, endAll := b.Tap("#")
		one, endOne := b.Tap("a.*")
		require.NoError(t, b.Send(context.Background(), []event.Message{to("a.b")})[0])
		require.ErrorIs(t, b.Send(context.Background(), []event.Message{to("x.y.z")})[0], event.ErrUnroutable)
		require.Equal(t, "a.b", eventtest.Next(t, all).RoutingKey)
		require.Equal(t, "x.y.z", eventtest.Next(t, all).RoutingKey, "a tap sees what was sent, routed or not")
		require.Equal(t, "a.b", eventtest.Next(t, one).RoutingKey)
		require.Empty(t, one)

		for range 1000 { // nobody reads: the broker goes on
			require.NoError(t, b.Send(context.Background(), []event.Message{to("a.b")})[0])
		}
		require.Len(t, one, cap(one))
		endOne()
		endOne()
		endAll()
		for range one {
		}
	})
	t.Run("does not see retries", func(t *testing.T) {
		t.Parallel()
		b, _ := newBroker(time.Second)
		tapped, end := b.Tap("#")
		defer end()
		seen, _, _ := consume(t, b, func(context.Context, event.Delivery) error { return errors.New("later") })
		eventtest.SendAll(t, b, to("a.b"))
		require.Equal(t, event.Retry, eventtest.Next(t, seen.Seen).Decision.Action)
		eventtest.Next(t, tapped)
		require.Empty(t, tapped)
	})
}
