package redispubsub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Run listens until ctx ends and answers nil. A subscription that breaks is made anew after a second; then every project
// that is watched is read, because nobody knows what was missed.
func (h *Hub) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := h.listen(ctx); ctx.Err() == nil {
			h.outage.note(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(h.pause):
		}
	}
	return nil
}

// listen hears hints until the subscription breaks, and answers why.
func (h *Hub) listen(ctx context.Context) error {
	subscription := h.client.PSubscribe(ctx)
	defer func() { _ = subscription.Close() }()
	hangUp := context.AfterFunc(ctx, func() { _ = subscription.Close() }) // a blocked receive does not see the end of ctx
	defer hangUp()
	if err := subscription.PSubscribe(ctx, everyProject); err != nil {
		return fmt.Errorf("project: subscribing to progress: %w", err)
	}
	for asked := false; ; {
		received, err := subscription.ReceiveTimeout(ctx, h.silent)
		switch timedOut := isTimeout(err); {
		case timedOut && !asked:
			// Silence may be peace, or a connection whose other end is gone. An answer is something received.
			asked, err = true, subscription.Ping(ctx)
		case err == nil:
			asked = false
		}
		if err != nil {
			return fmt.Errorf("project: listening to progress: %w", err)
		}
		switch m := received.(type) {
		case *redis.Subscription:
			h.outage.note(nil)
			h.touchAll()
		case *redis.Message:
			if id, ok := projectOf(m.Channel); ok {
				h.touch(id)
			}
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
