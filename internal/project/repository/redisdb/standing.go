package redisdb

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lifetime is how long all keys of a project live after its last change, as in begin.lua.
	lifetime = 604800 * time.Second
	// standingLimit bounds how many open projects are looked at for the one that stands still.
	standingLimit = 1000
)

// Standing returns how many projects are open, and how long the one has been without a change that has for longest, of up to
// 1000 of them. A project whose life another service has prolonged counts as just changed.
func (s *Store) Standing(ctx context.Context) (open int, longest time.Duration, err error) {
	var count *redis.IntCmd
	var ids *redis.StringSliceCmd
	_, err = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		count = pipe.ZCard(ctx, OpenKey)
		ids = pipe.ZRange(ctx, OpenKey, 0, standingLimit-1)
		return nil
	})
	if err != nil || len(ids.Val()) == 0 {
		return 0, 0, asUnavailable(ctx, "counting open projects", err)
	}
	left := make([]*redis.DurationCmd, len(ids.Val()))
	_, err = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, id := range ids.Val() {
			left[i] = pipe.PTTL(ctx, Key(id))
		}
		return nil
	})
	for _, l := range left {
		if l.Val() > 0 { // else it has just expired, or has no end, which the sweeper repairs
			longest = max(longest, lifetime-l.Val())
		}
	}
	return int(count.Val()), longest, asUnavailable(ctx, "looking at open projects", err)
}
