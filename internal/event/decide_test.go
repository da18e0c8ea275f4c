package event_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

var (
	now    = time.Date(2026, 1, 31, 9, 30, 0, 123_456_000, time.UTC)
	policy = event.Policy{
		Levels:      []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute},
		GiveUpAfter: time.Hour,
	}
)

type classed struct{}

func (classed) Error() string      { return "450 try later" }
func (classed) ErrorClass() string { return "smtp_450" }

// tried is a delivery after n failures, the first of them so long ago.
func tried(n int, ago time.Duration) event.Delivery {
	return event.Delivery{Message: event.Message{RoutingKey: "email.x", Headers: map[string]string{
		event.HeaderAttempts: strconv.Itoa(n), event.HeaderMoves: strconv.Itoa(n),
		event.HeaderFirstFailed: now.Add(-ago).Format(time.RFC3339Nano),
	}}}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	fresh := event.Delivery{Message: event.Message{RoutingKey: "email.x"}}
	boom := errors.New("boom")
	retry := func(level int, attempts, class string, first time.Time, moves string) event.Decision {
		return event.Decision{Action: event.Retry, Outcome: "retry", Level: level, Headers: map[string]string{
			event.HeaderRoutingKey: "email.x", event.HeaderAttempts: attempts, event.HeaderError: class,
			event.HeaderFirstFailed: first.Format(time.RFC3339Nano), event.HeaderMoves: moves,
		}}
	}
	dead := func(reason, class, attempts, moves string) event.Decision {
		return event.Decision{Action: event.Dead, Outcome: reason, Headers: map[string]string{
			event.HeaderRoutingKey: "email.x", event.HeaderAttempts: attempts, event.HeaderError: class,
			event.HeaderMoves: moves, event.HeaderDeadReason: reason, event.HeaderDeadAt: now.Format(time.RFC3339Nano),
		}}
	}
	requeue := event.Decision{Action: event.Requeue, Outcome: "requeue"}
	for name, c := range map[string]struct {
		err      error
		delivery event.Delivery
		stopping bool
		want     event.Decision
	}{
		"done":                {nil, fresh, false, event.Decision{Action: event.Ack, Outcome: "handled"}},
		"done while stopping": {nil, fresh, true, event.Decision{Action: event.Ack, Outcome: "handled"}},
		"dropped":             {event.Drop(event.DropExpired), fresh, false, event.Decision{Action: event.Ack, Outcome: "expired"}},
		"dropped, wrapped":    {fmt.Errorf("x: %w", event.Drop(event.DropStale)), fresh, true, event.Decision{Action: event.Ack, Outcome: "stale"}},
		"permanent":           {event.Permanent(event.ReasonRejected, boom), fresh, false, dead("rejected", "rejected", "0", "1")},
		"permanent with a class, wrapped": {
			fmt.Errorf("x: %w", event.Permanent(event.ReasonRejected, classed{})), tried(2, time.Minute), false,
			dead("rejected", "smtp_450", "2", "3"),
		},
		"permanent while stopping": {
			event.Permanent(event.ReasonInvalid, context.Canceled), fresh, true, dead("invalid", "invalid", "0", "1"),
		},
		"first failure":                    {boom, fresh, false, retry(0, "1", "error", now, "1")},
		"second failure":                   {boom, tried(1, time.Minute), false, retry(1, "2", "error", now.Add(-time.Minute), "2")},
		"with a class":                     {fmt.Errorf("x: %w", classed{}), tried(3, time.Minute), false, retry(3, "4", "smtp_450", now.Add(-time.Minute), "4")},
		"the last level repeats":           {boom, tried(9, time.Minute), false, retry(3, "10", "error", now.Add(-time.Minute), "10")},
		"a panic":                          {&event.PanicError{Value: "x"}, fresh, false, retry(0, "1", "panic", now, "1")},
		"long after the first failure":     {classed{}, tried(9, time.Hour), false, retry(3, "10", "smtp_450", now.Add(-time.Hour), "10")},
		"not yet":                          {event.NotYet(30*time.Second, boom), tried(1, time.Minute), false, retry(2, "1", "error", now.Add(-time.Minute), "2")},
		"not yet, first":                   {event.NotYet(10*time.Second, boom), fresh, false, retry(1, "0", "error", now, "1")},
		"not yet, short":                   {event.NotYet(time.Millisecond, boom), fresh, false, retry(0, "0", "error", now, "1")},
		"not yet, long":                    {event.NotYet(time.Hour, boom), fresh, false, retry(3, "0", "error", now, "1")},
		"cut by the stop":                  {fmt.Errorf("x: %w", context.Canceled), tried(2, time.Minute), true, requeue},
		"cut by the stop, first":           {context.Canceled, fresh, true, requeue},
		"cancelled by something else":      {context.Canceled, fresh, false, retry(0, "1", "error", now, "1")},
		"failing by itself while stopping": {boom, fresh, true, retry(0, "1", "error", now, "1")},
		"a deadline while stopping":        {context.DeadlineExceeded, fresh, true, retry(0, "1", "error", now, "1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, event.Decide(c.err, c.delivery, policy, c.stopping, now))
		})
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	t.Run("retry and dead queues are named after levels and queue", func(t *testing.T) {
		t.Parallel()
		q := event.Queue{Name: "identity.project", Retry: event.Policy{Levels: []time.Duration{
			time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 90 * time.Minute,
			250 * time.Millisecond, 90 * time.Second,
		}}}
		for i, level := range []string{"1s", "5s", "30s", "2m", "10m", "1h", "1h30m", "250ms", "1m30s"} {
			require.Equal(t, "identity.project.retry."+level, q.RetryQueue(i))
		}
		require.Equal(t, "identity.project.dead", q.DeadQueue())
	})
}

func TestMessage(t *testing.T) {
	t.Parallel()
	t.Run("a moved message arrives under its own key", func(t *testing.T) {
		t.Parallel()
		sent := event.Message{ID: "e", Exchange: event.Exchange, RoutingKey: "email.x", Headers: map[string]string{"a": "1"}}
		moved := sent.Moved("q.retry.1s", map[string]string{event.HeaderRoutingKey: sent.RoutingKey, event.HeaderAttempts: "1"})
		require.Empty(t, moved.Exchange)
		require.Equal(t, "q.retry.1s", moved.RoutingKey)
		require.True(t, moved.Mandatory)
		require.Equal(t, map[string]string{"a": "1"}, sent.Headers, "the original is left alone")
		arrived := moved.Arrived()
		require.Equal(t, "email.x", arrived.RoutingKey)
		require.Equal(t, "1", arrived.Headers["a"])
		require.Equal(t, 1, arrived.Attempts())
		require.Equal(t, "email.x", sent.Arrived().RoutingKey)

		keyless := event.Message{Exchange: "elsewhere"}.Moved("q.dead", map[string]string{event.HeaderRoutingKey: ""})
		require.Empty(t, keyless.Arrived().RoutingKey, "it does not take the name of a queue for a key")
	})
	t.Run("headers that cannot be read count as zero", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"", "x", "-3", "1.5"} {
			m := event.Message{Headers: map[string]string{
				event.HeaderAttempts: bad, event.HeaderMoves: bad, event.HeaderFirstFailed: bad,
			}}
			require.Zero(t, m.Attempts())
			require.Zero(t, m.Moves())
			require.True(t, m.FirstFailed().IsZero())
		}
	})
	t.Run("a moved message has an id", func(t *testing.T) {
		t.Parallel()
		moved := event.Message{Exchange: "x", RoutingKey: "k"}.Moved("q", map[string]string{event.HeaderMoves: "1"})
		require.True(t, strings.HasPrefix(moved.ID, "evt_"), moved.ID)
		require.Equal(t, moved.ID, moved.Moved("q", nil).ID, "once it has an id it keeps it")
	})
}

func TestErrorClass(t *testing.T) {
	t.Parallel()
	t.Run("errors keep their cause", func(t *testing.T) {
		t.Parallel()
		cause := errors.New("cause")
		require.ErrorIs(t, event.Permanent(event.ReasonInvalid, cause), cause)
		require.ErrorIs(t, event.NotYet(time.Second, cause), cause)
		require.Equal(t, "error", event.ErrorClass(cause))
		require.EqualError(t, event.Drop(event.DropDuplicate), "dropped: duplicate")
	})
}
