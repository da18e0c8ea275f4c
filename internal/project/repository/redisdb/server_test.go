package redisdb_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

// life is the lifetime of a project (docs/compatibility.md).
const life = 604800 * time.Second

const owner = "user-7"

var ctx = context.Background()

// suite is a store on one server. A real server is shared: every test has a project of its own.
type suite struct {
	*testing.T
	client *goredis.Client
	store  *redisdb.Store
	id     string
	alone  bool // no other test uses the server
}

// each runs test as a subtest on miniredis, and on a real server if INTEGRATION is set.
func each(t *testing.T, name string, test func(s suite)) {
	run := func(server string, alone bool, options func(t *testing.T) redis.Options) {
		t.Run(name+"/"+server, func(t *testing.T) {
			t.Parallel()
			client := redis.Open(options(t))
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			s := suite{T: t, client: client, store: redisdb.New(client), id: uuid.NewString(), alone: alone}
			t.Cleanup(func() { require.NoError(t, s.store.Forget(ctx, s.id)) })
			test(s)
		})
	}
	run("miniredis", true, func(t *testing.T) redis.Options {
		return redis.Options{
			Addr:        miniredis.RunT(t).Addr(),
			DB:          1,
			ReadTimeout: 10 * time.Second,
			PoolSize:    20,
			PoolTimeout: 10 * time.Second,
		}
	})
	if os.Getenv("INTEGRATION") != "" {
		run("redis", false, realOptions)
	}
}

func realOptions(t *testing.T) redis.Options {
	host := os.Getenv("REDIS_HOST")
	if host == "" {
		t.Fatal("INTEGRATION is set but REDIS_HOST is not; run make test-integration")
	}
	db, err := strconv.Atoi(os.Getenv("REDIS_STATE_DB"))
	require.NoError(t, err, "INTEGRATION is set but REDIS_STATE_DB is not a number; run make test-integration")
	return redis.Options{
		Addr: net.JoinHostPort(host, os.Getenv("REDIS_PORT")), Password: os.Getenv("REDIS_PASSWORD"), DB: db,
		ReadTimeout: 10 * time.Second, PoolSize: 20, PoolTimeout: 10 * time.Second, Retries: 2,
	}
}

// The operations must not fail.

func (s suite) init(owner string, total int64) project.Change {
	s.Helper()
	change, err := s.store.Init(ctx, s.id, owner, total)
	require.NoError(s, err)
	return change
}

func (s suite) setTotal(total int64, final bool) project.Change {
	s.Helper()
	change, err := s.store.SetTotal(ctx, s.id, total, final)
	require.NoError(s, err)
	return change
}

func (s suite) mark(items ...project.Item) project.Change {
	s.Helper()
	change, err := s.store.Mark(ctx, s.id, items)
	require.NoError(s, err)
	return change
}

func (s suite) fail(reason string) project.Change {
	s.Helper()
	change, err := s.store.Fail(ctx, s.id, reason)
	require.NoError(s, err)
	return change
}

func (s suite) check() project.Change {
	s.Helper()
	change, err := s.store.Check(ctx, s.id)
	require.NoError(s, err)
	return change
}

func (s suite) signalled() {
	s.Helper()
	require.NoError(s, s.store.MarkSignalled(ctx, s.id))
}

func (s suite) progress() project.Progress {
	s.Helper()
	p, _, err := s.store.Progress(ctx, s.id)
	require.NoError(s, err)
	return p
}

func (s suite) hash() map[string]string {
	s.Helper()
	hash, err := s.client.HGetAll(ctx, redisdb.Key(s.id)).Result()
	require.NoError(s, err)
	return hash
}

func (s suite) write(fields ...any) {
	s.Helper()
	require.NoError(s, s.client.HSet(ctx, redisdb.Key(s.id), fields...).Err())
}

// open reports whether the project is an open one.
func (s suite) open() bool {
	s.Helper()
	err := s.client.ZScore(ctx, redisdb.OpenKey, s.id).Err()
	if !errors.Is(err, goredis.Nil) {
		require.NoError(s, err)
	}
	return err == nil
}

// keys returns the keys of the project that exist.
func (s suite) keys() []string {
	s.Helper()
	var there []string
	for _, key := range allKeys(s.id) {
		n, err := s.client.Exists(ctx, key).Result()
		require.NoError(s, err)
		if n == 1 {
			there = append(there, key)
		}
	}
	return there
}

func allKeys(id string) []string {
	return []string{redisdb.Key(id), redisdb.ItemsKey(id), redisdb.FailedKey(id), redisdb.OwnerKey(id)}
}

func (s suite) expire(in time.Duration, keys ...string) {
	s.Helper()
	for _, key := range keys {
		set, err := s.client.PExpire(ctx, key, in).Result()
		require.NoError(s, err)
		require.True(s, set, key)
	}
}

// lives requires that every key expires in d.
func (s suite) lives(d time.Duration, keys ...string) {
	s.Helper()
	for _, key := range keys {
		left, err := s.client.PTTL(ctx, key).Result()
		require.NoError(s, err)
		require.InDelta(s, d.Seconds(), left.Seconds(), 30, key)
	}
}

func ok(id string) project.Item     { return project.Item{ID: id} }
func failed(id string) project.Item { return project.Item{ID: id, Failed: true} }

// TestMain silences go-redis, which logs every broken connection.
func TestMain(m *testing.M) {
	redis.RouteLogs(zerolog.Nop())
	m.Run()
}
