package lifecycle_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/lifecycle"
)

func TestEvery(t *testing.T) {
	t.Parallel()
	t.Run("works again and again until its context ends", func(t *testing.T) {
		t.Parallel()
		ctx, stop := context.WithCancel(t.Context())
		calls := 0
		require.NoError(t, lifecycle.Every(ctx, time.Millisecond, func(context.Context) {
			if calls++; calls == 3 {
				stop()
			}
		}))
		require.GreaterOrEqual(t, calls, 3)
	})
	t.Run("does not work at once", func(t *testing.T) {
		t.Parallel()
		ended, stop := context.WithCancel(t.Context())
		stop()
		require.NoError(t, lifecycle.Every(ended, time.Hour, func(context.Context) { t.Error("too early") }))
	})
}
