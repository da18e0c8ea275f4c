package redisdb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

var changed = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

// suite is a store on one server. A real server is shared: every test has a user of its own.
type suite struct {
	*testing.T
	client *goredis.Client
	store  *redisdb.Store
	user   string
}

// each runs test as a subtest on miniredis, and on a real server if INTEGRATION is set.
func each(t *testing.T, name string, test func(s suite)) {
	servers := map[string]func(t *testing.T) redis.Options{
		"miniredis": func(t *testing.T) redis.Options {
			return redis.Options{Addr: miniredis.RunT(t).Addr(), DB: 1, ReadTimeout: 10 * time.Second}
		},
	}
	if os.Getenv("INTEGRATION") != "" {
		servers["redis"] = realOptions
	}
	for server, options := range servers {
		t.Run(name+"/"+server, func(t *testing.T) {
			t.Parallel()
			client := redis.Open(options(t))
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			s := suite{T: t, client: client, store: redisdb.New(client), user: uuid.NewString()}
			test(s)
			require.NoError(t, client.Del(context.Background(), redisdb.Key(s.user)).Err())
		})
	}
}

func realOptions(t *testing.T) redis.Options {
	host := os.Getenv("REDIS_HOST")
	if host == "" {
		t.Fatal("INTEGRATION is set but REDIS_HOST is not; run make test-integration")
	}
	db, err := strconv.Atoi(os.Getenv("REDIS_STATE_DB"))
	require.NoError(t, err, "INTEGRATION is set but REDIS_STATE_DB is no number; run make test-integration")
	return redis.Options{
		Addr: net.JoinHostPort(host, os.Getenv("REDIS_PORT")), Password: os.Getenv("REDIS_PASSWORD"), DB: db,
		ReadTimeout: 10 * time.Second,
	}
}

func (s suite) state(version int64, until *time.Time) subscription.State {
	return subscription.State{
		UserID: s.user, Version: version, SubscriptionID: "sub-" + strconv.FormatInt(version, 10), PlanCode: "free",
		Status: subscription.StatusTrialing, EffectiveUntil: until, UpdatedAt: changed,
	}
}

func (s suite) apply(state subscription.State) bool {
	s.Helper()
	applied, err := s.store.Apply(context.Background(), state)
	require.NoError(s, err)
	return applied
}

func (s suite) hash() map[string]string {
	s.Helper()
	hash, err := s.client.HGetAll(context.Background(), redisdb.Key(s.user)).Result()
	require.NoError(s, err)
	return hash
}

// expiresAt returns the expiry of the hash, or zero if it has none.
func (s suite) expiresAt() time.Time {
	s.Helper()
	seconds, err := s.client.Do(context.Background(), "EXPIRETIME", redisdb.Key(s.user)).Int64()
	require.NoError(s, err)
	require.NotEqual(s, int64(-2), seconds, "the hash is gone")
	if seconds == -1 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func TestKey(t *testing.T) {
	t.Parallel()
	require.Equal(t, "smap:sub:0b7c", redisdb.Key("0b7c"))
}

func TestApply(t *testing.T) {
	t.Parallel()
	each(t, "writes the hash and its expiry", func(s suite) {
		until := time.Date(2199, 2, 14, 16, 30, 0, 999999000, time.FixedZone("ICT", 7*3600))
		require.True(s, s.apply(s.state(1, &until)))
		require.Equal(s, map[string]string{
			"version": "1", "subscription_id": "sub-1", "plan_code": "free", "status": "trialing",
			"effective_until": "2199-02-14T09:30:00.999Z", "updated_at": "2026-01-31T09:30:00.123Z",
		}, s.hash())
		require.Equal(s, time.Date(2199, 3, 16, 9, 30, 0, 0, time.UTC), s.expiresAt(), "30 days later")

		open := s.state(2, nil)
		open.UpdatedAt = time.Time{}
		require.True(s, s.apply(open))
		require.Equal(s, map[string]string{
			"version": "2", "subscription_id": "sub-2", "plan_code": "free", "status": "trialing",
			"effective_until": "", "updated_at": "",
		}, s.hash())
		require.Zero(s, s.expiresAt(), "an open-ended state does not expire")

		require.True(s, s.apply(s.state(3, &until)))
		require.NotZero(s, s.expiresAt())
	})
	each(t, "keeps a higher version", func(s suite) {
		until := time.Now().Add(time.Hour)
		require.True(s, s.apply(s.state(9, nil)))
		require.True(s, s.apply(s.state(10, nil)), "versions compare as numbers")
		before := s.hash()
		require.False(s, s.apply(s.state(9, &until)))
		require.False(s, s.apply(s.state(0, &until)))
		require.Equal(s, before, s.hash())
		require.Zero(s, s.expiresAt(), "a stale state keeps the expiry")

		repaired := s.state(10, &until)
		require.True(s, s.apply(repaired), "the same version is stored again")
		require.True(s, s.apply(repaired))
		require.NotZero(s, s.expiresAt())
	})
	each(t, "keeps any version over 0", func(s suite) {
		require.True(s, s.apply(s.state(0, nil)), "no hash exists")
		require.True(s, s.apply(s.state(0, nil)), "rebuilding twice is harmless")
		require.True(s, s.apply(s.state(1, nil)))
		require.False(s, s.apply(s.state(0, nil)))
		require.Equal(s, "1", s.hash()["version"])
	})
	each(t, "keeps a state that ended long ago for a day", func(s suite) {
		for i, ended := range []time.Time{time.Now().AddDate(-2, 0, 0), {}, time.Now().Add(-30*24*time.Hour + time.Minute)} {
			require.True(s, s.apply(s.state(int64(i)+2, &ended)))
			require.WithinDuration(s, time.Now().Add(24*time.Hour), s.expiresAt(), time.Minute)
			require.False(s, s.apply(s.state(1, nil)), "a late event does not restore an older state")
		}
		recent := time.Now().Add(-28 * 24 * time.Hour)
		require.True(s, s.apply(s.state(9, &recent)))
		require.Equal(s, recent.AddDate(0, 0, 30).Unix(), s.expiresAt().Unix())
	})
	each(t, "is gone after Delete", func(s suite) {
		ctx := context.Background()
		require.True(s, s.apply(s.state(3, nil)))
		for range 2 {
			require.NoError(s, s.store.Delete(ctx, s.user))
			require.Empty(s, s.hash())
		}
	})
	each(t, "keeps fields of other services", func(s suite) {
		ctx := context.Background()
		require.NoError(s, s.client.HSet(ctx, redisdb.Key(s.user), "note", "theirs").Err())
		require.True(s, s.apply(s.state(1, nil)), "a hash without a version is older than any state")
		require.Equal(s, "theirs", s.hash()["note"])
	})
	each(t, "sends a script that the server lost", func(s suite) {
		for version := range int64(3) {
			require.NoError(s, s.client.ScriptFlush(context.Background()).Err())
			require.True(s, s.apply(s.state(version, nil)))
			require.True(s, s.apply(s.state(version, nil)))
		}
		require.Equal(s, "2", s.hash()["version"])
	})
	t.Run("takes one round trip", func(t *testing.T) {
		t.Parallel()
		client := redis.Open(redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		require.NoError(t, client.Ping(context.Background()).Err()) // the handshake
		var sent []string
		client.AddHook(hook{sent: &sent})
		store := redisdb.New(client)
		state := subscription.State{UserID: "u", Version: 1}
		_, err := store.Apply(context.Background(), state)
		require.NoError(t, err)
		require.Equal(t, []string{"evalsha", "eval"}, sent, "the first call sends the script")
		_, err = store.Apply(context.Background(), state)
		require.NoError(t, err)
		require.Equal(t, []string{"evalsha", "eval", "evalsha"}, sent)
	})
	each(t, "keeps the highest of 50 concurrent versions", func(s suite) {
		const n = 50
		start := make(chan struct{})
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i, v := range rand.Perm(n) {
			wg.Go(func() {
				<-start
				_, errs[i] = s.store.Apply(context.Background(), s.state(int64(v)+1, nil))
			})
		}
		close(start)
		wg.Wait()
		require.NoError(s, errors.Join(errs...))
		require.Equal(s, "50", s.hash()["version"])
		require.Equal(s, "sub-50", s.hash()["subscription_id"])
	})
	t.Run("returns an error if Redis is unavailable", func(t *testing.T) {
		t.Parallel()
		server := miniredis.RunT(t)
		client := redis.Open(redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		server.Close()
		applied, err := redisdb.New(client).Apply(context.Background(), subscription.State{UserID: "u", Version: 1})
		require.Error(t, err)
		require.False(t, applied)
	})
}

// hook records the commands that the client sends.
type hook struct {
	goredis.Hook
	sent *[]string
}

func (h hook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		*h.sent = append(*h.sent, cmd.Name())
		return next(ctx, cmd)
	}
}
func (hook) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (hook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}
