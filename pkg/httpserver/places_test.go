package httpserver

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	errKey, errAll := errors.New("no place for this key"), errors.New("no place at all")

	t.Run("bound one key and all", func(t *testing.T) {
		t.Parallel()
		p := &Places{PerKey: 2, KeyFull: errKey, Total: 3, Full: errAll}
		leave, err := p.Enter("a")
		require.NoError(t, err)
		_, err = p.Enter("a")
		require.NoError(t, err)
		_, err = p.Enter("a")
		require.ErrorIs(t, err, errKey)
		_, err = p.Enter("b")
		require.NoError(t, err)
		_, err = p.Enter("b")
		require.ErrorIs(t, err, errAll)
		_, err = p.Enter("a")
		require.ErrorIs(t, err, errKey, "which it can do something about")
		leave()
		leave, err = p.Enter("c")
		require.NoError(t, err)
		leave()
		require.Len(t, p.taken, 2, "of a key without a place nothing is kept")
	})

	t.Run("need not bound all", func(t *testing.T) {
		t.Parallel()
		p := &Places{PerKey: 1, KeyFull: errKey}
		for i := range 1000 {
			_, err := p.Enter(strconv.Itoa(i))
			require.NoError(t, err)
		}
	})

	t.Run("are counted exactly", func(t *testing.T) {
		t.Parallel()
		p := &Places{PerKey: 20, KeyFull: errKey}
		var inside, entered atomic.Int64
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				leave, err := p.Enter("a")
				if err != nil {
					return
				}
				if inside.Add(1) > 20 {
					t.Error("more are in than there are places")
				}
				entered.Add(1)
				inside.Add(-1)
				leave()
			})
		}
		all.Wait()
		require.GreaterOrEqual(t, entered.Load(), int64(20))
		require.Empty(t, p.taken)
		require.Zero(t, p.all)
	})
}
