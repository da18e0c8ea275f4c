package harness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is how long the harness waits for anything that should happen soon. It is generous, because a loaded
// machine is no fault of the service, and longer than the minute for which a killed relay keeps its claimed outbox
// rows.
const Patience = 90 * time.Second

const (
	// tick is the pause between two looks at a condition that signals no change.
	tick = 10 * time.Millisecond
	// mailTick is longer, because a look goes through all mails.
	mailTick = 50 * time.Millisecond
)

// Eventually calls cond until it returns nil. When ctx ends first, it returns cond's last error.
func Eventually(ctx context.Context, cond func() error) error { return every(ctx, tick, cond) }

func every(ctx context.Context, pause time.Duration, cond func() error) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; last seen: %w", context.Cause(ctx), err)
		}
	}
}

// Soon is [Eventually] within [Patience]. It fails tb when cond never returns nil.
func Soon(tb testing.TB, cond func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	defer cancel()
	require.NoError(tb, Eventually(ctx, cond))
}
