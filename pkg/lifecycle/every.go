package lifecycle

import (
	"context"
	"time"
)

// Every calls work at intervals, the first time after one of them, until ctx ends. Then it returns nil, so that it can be
// the rest of a [Role].
func Every(ctx context.Context, interval time.Duration, work func(ctx context.Context)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			work(ctx)
		}
	}
}
