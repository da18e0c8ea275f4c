package system

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is how long the harness waits for anything that should happen soon. It is generous, because a loaded
// machine is no fault of the service, and longer than the minute for which a relay that was killed keeps the outbox
// rows it had in hand. Other than then, only a red test waits so long.
const Patience = 90 * time.Second

// Pauses between two looks at something that cannot tell by itself that it has changed.
const (
	tick = 10 * time.Millisecond
	// mailTick is longer: a look goes through all mails, and in an outage hundreds wait for theirs.
	mailTick = 50 * time.Millisecond
)

// Eventually asks cond again and again until it answers nil. When ctx ends first it answers cond's last error.
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

// Soon is Eventually within Patience; it fails tb.
func Soon(tb testing.TB, cond func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	defer cancel()
	require.NoError(tb, Eventually(ctx, cond), "waited in vain")
}
