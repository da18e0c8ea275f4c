package eventtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// patience is how long a test waits for something that must happen. It is generous because it costs nothing where
// things work, and a loaded machine is slow.
const patience = 20 * time.Second

// Next returns the next value of c, and fails the test when none comes.
func Next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v, open := <-c:
		require.True(t, open, "the channel was closed instead")
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came", "within %s", patience)
		panic("unreachable")
	}
}

// Observation is one delivery as an event.Observer saw it, once its decision had been carried out.
type Observation struct {
	Queue    string
	Delivery event.Delivery
	Decision event.Decision
	Err      error
}

// Observer is an [event.Observer] that sends every delivery to Seen, in the order in which they were finished.
type Observer struct{ Seen chan Observation }

// NewObserver returns an observer with room for 10,000 unread observations; more would hold the broker up.
func NewObserver() *Observer { return &Observer{Seen: make(chan Observation, 10_000)} }

type observed struct{}

// Begin implements event.Observer.
func (o *Observer) Begin(ctx context.Context, q event.Queue, d event.Delivery) (context.Context, func(event.Decision, error)) {
	return context.WithValue(ctx, observed{}, true), func(decision event.Decision, err error) {
		o.Seen <- Observation{Queue: q.Name, Delivery: d, Decision: decision, Err: err}
	}
}

// FromObserver reports whether ctx was returned by an Observer's Begin.
func FromObserver(ctx context.Context) bool { return ctx.Value(observed{}) != nil }
