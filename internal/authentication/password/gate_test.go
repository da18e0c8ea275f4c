package password

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestGate(t *testing.T) {
	t.Parallel()

	t.Run("never lets more in than it has places", func(t *testing.T) {
		t.Parallel()
		g := newGate(2, time.Minute)
		var inside, most atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				leave, err := g.enter(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				inside.Add(-1)
				leave()
			})
		}
		all.Wait()
		require.LessOrEqual(t, most.Load(), int64(2))
		running, waiting := g.load()
		require.Zero(t, running)
		require.Zero(t, waiting)
	})

	t.Run("lets the next in once a place is free", func(t *testing.T) {
		t.Parallel()
		g := newGate(1, time.Minute)
		leave, err := g.enter(context.Background())
		require.NoError(t, err)
		entered := make(chan error)
		go func() {
			next, err := g.enter(context.Background())
			if err == nil {
				next()
			}
			entered <- err
		}()
		require.Eventually(t, func() bool { _, waiting := g.load(); return waiting == 1 }, 5*time.Second, time.Millisecond)
		running, _ := g.load()
		require.Equal(t, 1, running)
		leave()
		require.NoError(t, <-entered)
	})

	t.Run("turns away what has waited long enough", func(t *testing.T) {
		t.Parallel()
		g := newGate(1, time.Millisecond)
		leave, err := g.enter(context.Background())
		require.NoError(t, err)

		_, err = g.enter(context.Background())
		require.ErrorIs(t, err, authentication.ErrBusy)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		leave()
		leave, err = g.enter(context.Background())
		require.NoError(t, err, "the one turned away holds no place")
		leave()
	})

	t.Run("turns away a client who has gone", func(t *testing.T) {
		t.Parallel()
		h := &Hasher{gate: newGate(1, time.Minute)}
		leave, err := h.gate.enter(context.Background())
		require.NoError(t, err)
		defer leave()
		gone, cancel := context.WithCancel(context.Background())
		cancel()

		_, err = h.Hash(gone, "correct horse")
		require.ErrorIs(t, err, authentication.ErrBusy)
		_, _, err = h.Verify(gone, "", "correct horse")
		require.ErrorIs(t, err, authentication.ErrBusy)
		require.ErrorIs(t, err, context.Canceled)
		running, waiting := h.Load()
		require.Equal(t, 1, running)
		require.Zero(t, waiting)
	})
}
