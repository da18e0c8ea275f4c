package redisdb_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

// calls returns all methods.
func calls(store *redisdb.Store, id string) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"init":      func(ctx context.Context) error { _, err := store.Init(ctx, id, owner, 9); return err },
		"total":     func(ctx context.Context) error { _, err := store.SetTotal(ctx, id, 9, true); return err },
		"mark":      func(ctx context.Context) error { _, err := store.Mark(ctx, id, []project.Item{ok("a")}); return err },
		"fail":      func(ctx context.Context) error { _, err := store.Fail(ctx, id, "why"); return err },
		"check":     func(ctx context.Context) error { _, err := store.Check(ctx, id); return err },
		"signalled": func(ctx context.Context) error { return store.MarkSignalled(ctx, id) },
		"forget":    func(ctx context.Context) error { return store.Forget(ctx, id) },
		"open":      func(ctx context.Context) error { _, err := store.ListOpen(ctx, time.Minute, 100); return err },
		"progress":  func(ctx context.Context) error { _, _, err := store.Progress(ctx, id); return err },
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	each(t, "sends a script that the server lost", func(s suite) {
		for name, call := range calls(s.store, s.id) {
			require.NoError(s, s.client.ScriptFlush(ctx).Err())
			require.NoError(s, call(ctx), name)
		}
		require.NoError(s, s.store.Forget(ctx, s.id))
		s.init(owner, 3)
		for i := range 3 {
			require.NoError(s, s.client.ScriptFlush(ctx).Err())
			require.EqualValues(s, i+1, s.mark(ok(itemID(i))).Done)
		}
	})
	t.Run("takes one round trip per call", func(t *testing.T) {
		t.Parallel()
		client := redis.Open(redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		require.NoError(t, client.Ping(ctx).Err()) // the handshake
		var sent []string
		client.AddHook(hook{sent: &sent})
		for name, call := range calls(redisdb.New(client), "p") {
			require.NoError(t, call(ctx))
			sent = nil
			require.NoError(t, call(ctx))
			want := []string{"evalsha"}
			if name == "progress" {
				want = []string{"multi hgetall scard get exec"}
			}
			require.Equal(t, want, sent, name)
		}
	})
	each(t, "returns the present owner in every process", func(s suite) {
		other := redisdb.New(s.client)
		for _, want := range []string{"", owner, "another"} {
			require.NoError(s, other.Forget(ctx, s.id))
			s.init(want, 0)
			for _, store := range []*redisdb.Store{s.store, other} {
				_, user, err := store.Progress(ctx, s.id)
				require.NoError(s, err)
				require.Equal(s, want, user)
			}
		}
	})
	t.Run("returns ErrUnavailable while Redis is unavailable", func(t *testing.T) {
		t.Parallel()
		server := miniredis.RunT(t)
		client := redis.Open(redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		server.Close()
		for name, call := range calls(redisdb.New(client), "p") {
			require.ErrorIs(t, call(ctx), project.ErrUnavailable, name)
		}
	})
	t.Run("returns the caller's cancellation", func(t *testing.T) {
		t.Parallel()
		client := redis.Open(redis.Options{Addr: silent(t), ReadTimeout: time.Minute})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		for name, call := range calls(redisdb.New(client), "p") {
			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			err := call(cancelled)
			require.ErrorIs(t, err, context.Canceled, name)
			require.ErrorIs(t, err, project.ErrUnavailable, name)
		}
		// While the server is silent, the deadline of the connection fires first.
		late, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := redisdb.New(client).Check(late, "p")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, project.ErrUnavailable)
	})
	each(t, "returns an error for a key of another type", func(s suite) {
		require.NoError(s, s.client.Set(ctx, redisdb.Key(s.id), "not a hash", time.Minute).Err())
		for name, call := range calls(s.store, s.id) {
			if name == "forget" || name == "open" || name == "owner" {
				continue
			}
			err := call(ctx)
			require.ErrorIs(s, err, project.ErrUnavailable, name)
			require.ErrorContains(s, err, "WRONGTYPE", name)
		}
		require.Equal(s, []string{redisdb.Key(s.id)}, s.keys())
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
func (h hook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		names := make([]string, len(cmds))
		for i, cmd := range cmds {
			names[i] = cmd.Name()
		}
		*h.sent = append(*h.sent, strings.Join(names, " "))
		return next(ctx, cmds)
	}
}
