// Package redisdb keeps subscription states in Redis, one hash per user, for all SMAP services to read:
//
//	smap:sub:{user_id}   version, subscription_id, plan_code, status, effective_until, updated_at
//
// Times are RFC 3339 in UTC with milliseconds; effective_until is "" while it is open-ended, updated_at is "" when it
// is not known. Fields that are not ours are left alone.
//
// It does not promise that a hash is there: Redis can lose its last second, and a user whose subscription ended more
// than 30 days ago has none. The database can always write it again (usecase.Projection.RebuildStates).
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

// afterlife is how long a hash stays after effective_until (docs/compatibility.md).
const afterlife = 30 * 24 * time.Hour

// leastLife is how long a hash stays at least, for a state that ended so long ago that it should be gone already:
// well longer than an older event can still be on its way (the retry ladder's hour, docs/architecture.md). Were it deleted at
// once, such an event would find nothing and bring the older state back.
const leastLife = 24 * time.Hour

// timeLayout is that of the event envelope (docs/events.md): a state comes out the same from an event and from a row.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

//go:embed apply.lua
var applySource string

var apply = redis.NewScript(applySource)

// Store is a subscription.StateStore. Safe for concurrent use.
type Store struct{ client *redis.Client }

// New works on the database client has selected (REDIS_STATE_DB). The client may retry: a state that is applied
// twice is the same as once.
func New(client *redis.Client) *Store { return &Store{client} }

var _ subscription.StateStore = (*Store)(nil)

// Apply implements subscription.StateStore in one round trip: the script by its digest, and once more with its text
// when the server has forgotten it. The hash stays for ever while EffectiveUntil is nil, else until 30 days after it,
// and at least for a day from now.
func (s *Store) Apply(ctx context.Context, state subscription.State) (bool, error) {
	expireAt := ""
	if state.EffectiveUntil != nil {
		expireAt = strconv.FormatInt(state.EffectiveUntil.Add(afterlife).Unix(), 10)
	}
	stored, err := apply.Run(ctx, s.client, []string{Key(state.UserID)},
		state.Version, state.SubscriptionID, state.PlanCode, string(state.Status),
		format(state.EffectiveUntil), format(&state.UpdatedAt), expireAt, int(leastLife.Seconds())).Bool()
	if err != nil {
		return false, fmt.Errorf("subscription: writing a state to Redis: %w", err)
	}
	return stored, nil
}

func format(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}
