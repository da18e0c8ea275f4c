package inprocess_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/inprocess"
)

func TestTime(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	start := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	b := inprocess.New([]event.Queue{testQueue}, inprocess.Options{
		Now:          func() time.Time { return start.Add(time.Duration(passed.Load())) },
		DrainTimeout: time.Second,
		Log:          zerolog.Nop(),
	})
	_, waits := b.NextDue()
	require.False(t, waits)
	require.Empty(t, b.Busy())
	require.NoError(t, b.Send(t.Context(), []event.Message{to("a.b")})[0])
	require.Equal(t, []string{"q"}, b.Busy(), "ready")

	began, finish := make(chan struct{}), make(chan error)
	consume(t, b, func(context.Context, event.Delivery) error {
		began <- struct{}{}
		return <-finish
	})
	<-began
	require.Equal(t, []string{"q"}, b.Busy(), "a handler is at work")
	finish <- errors.New("not now")
	require.Eventually(t, func() bool { _, waits := b.NextDue(); return waits && len(b.Busy()) == 0 },
		20*time.Second, time.Millisecond)
	due, _ := b.NextDue()
	require.Equal(t, start.Add(time.Hour), due)

	passed.Store(int64(time.Hour - 1))
	b.Wake()
	require.Empty(t, b.Busy(), "not due yet")
	passed.Store(int64(time.Hour))
	b.Wake()
	b.Wake()
	<-began
	finish <- nil
	require.Eventually(t, func() bool { return len(b.Busy()) == 0 }, 20*time.Second, time.Millisecond)
	_, waits = b.NextDue()
	require.False(t, waits, "handed out once")
}
