package redispubsub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Run listens until ctx ends and returns nil. A broken subscription is renewed after a second, and then every watched
// project is read, because hints may have been missed.
func (s *Subscriber) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.listen(ctx); ctx.Err() == nil {
			s.outage.update(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
	return nil
}

// listen receives hints until the subscription breaks, and returns the reason.
func (s *Subscriber) listen(ctx context.Context) error {
	subscription := s.client.PSubscribe(ctx)
	defer func() { _ = subscription.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = subscription.Close() }) // a blocked receive does not watch ctx
	defer stop()
	if err := subscription.PSubscribe(ctx, Patterns()...); err != nil {
		return fmt.Errorf("project: subscribing to progress: %w", err)
	}
	for pinged := false; ; {
		received, err := subscription.ReceiveTimeout(ctx, s.pingAfter)
		switch timedOut := isTimeout(err); {
		case timedOut && !pinged:
			// A silent connection is idle or dead. The reply to the ping tells them apart.
			pinged, err = true, subscription.Ping(ctx)
		case err == nil:
			pinged = false
		}
		if err != nil {
			return fmt.Errorf("project: listening to progress: %w", err)
		}
		switch m := received.(type) {
		case *redis.Subscription:
			s.outage.update(nil)
			s.hintAll()
		case *redis.Message:
			if id, ok := projectOf(m.Channel, m.Payload); ok {
				s.hint(id)
			}
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
