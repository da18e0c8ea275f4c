// Package redisdb owns subscription states in Redis, one hash per user, which all SMAP services read:
//
//	smap:sub:{user_id}   version, subscription_id, plan_code, status, effective_until, updated_at
//
// Times are RFC 3339 in UTC with milliseconds. effective_until is "" while open-ended, updated_at is "" while
// unknown. Fields of other services stay.
//
// The package does not promise that a hash exists: Redis may lose its last second of writes, and a hash expires 30
// days after the subscription ended. It can always be rebuilt from the database (usecase.Projection.RebuildStates).
package redisdb

import (
	"context"
	_ "embed" // for apply.lua
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/subscription"
)

// retention is the lifetime of a hash after effective_until (docs/compatibility.md).
const retention = 30 * 24 * time.Hour

// minLifetime is the minimum lifetime of a hash, for a state that ended long ago. It is much longer than the hour for
// which an older event can be retried: if the hash expired before, such an event would restore the older state.
const minLifetime = 24 * time.Hour

// timeLayout is the layout of the event envelope (docs/events.md): a state is the same from an event and from a row.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

//go:embed apply.lua
var applySource string

var apply = redis.NewScript(applySource)

// Store implements [subscription.StateStore]. Safe for concurrent use.
type Store struct{ client *redis.Client }

// New returns a Store on the database that client has selected (REDIS_STATE_DB). The client may retry: Apply is
// idempotent.
func New(client *redis.Client) *Store { return &Store{client} }

var _ subscription.StateStore = (*Store)(nil)

// Apply implements [subscription.StateStore] in one round trip, and a second one if the server does not have the
// script. The hash does not expire while EffectiveUntil is nil; otherwise it expires 30 days later, but not within
// the next day.
func (s *Store) Apply(ctx context.Context, state subscription.State) (bool, error) {
	expireAt := ""
	if state.EffectiveUntil != nil {
		expireAt = strconv.FormatInt(state.EffectiveUntil.Add(retention).Unix(), 10)
	}
	applied, err := apply.Run(ctx, s.client, []string{Key(state.UserID)},
		state.Version, state.SubscriptionID, state.PlanCode, string(state.Status),
		format(state.EffectiveUntil), format(&state.UpdatedAt), expireAt, int(minLifetime.Seconds())).Bool()
	if err != nil {
		return false, fmt.Errorf("subscription: writing %s to Redis: %w", Key(state.UserID), err)
	}
	return applied, nil
}

// Delete removes the state of a user.
func (s *Store) Delete(ctx context.Context, userID string) error {
	if err := s.client.Unlink(ctx, Key(userID)).Err(); err != nil {
		return fmt.Errorf("subscription: deleting %s from Redis: %w", Key(userID), err)
	}
	return nil
}

func format(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}
