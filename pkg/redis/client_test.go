package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/redis"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("sets every option", func(t *testing.T) {
		t.Parallel()
		tests := []struct {
			name           string
			in             redis.Options
			retries, size  int
			dial, readTime time.Duration
		}{
			{"defaults", redis.Options{Addr: "x:1"}, 0, 10, time.Second, time.Second},
			{"set", redis.Options{Addr: "x:1", Retries: 2, PoolSize: 3, DialTimeout: 2 * time.Second, ReadTimeout: 50 * time.Millisecond},
				2, 3, 2 * time.Second, 50 * time.Millisecond},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := redis.Open(tt.in)
				t.Cleanup(func() { require.NoError(t, c.Close()) })
				got := c.Options()
				require.Equal(t, tt.retries, got.MaxRetries) // go-redis turns −1 into 0
				require.Equal(t, tt.size, got.PoolSize)
				require.Equal(t, tt.dial, got.DialTimeout)
				require.Equal(t, tt.readTime, got.ReadTimeout)
				require.Equal(t, time.Second, got.WriteTimeout)
				require.Equal(t, time.Second, got.PoolTimeout)
			})
		}
	})

	// A new connection says who it is and which database it wants, and nothing that an older server refuses.
	t.Run("sends no introduction", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		m.RequireAuth("secret")
		var mu sync.Mutex
		var seen []string
		m.Server().SetPreHook(func(_ *server.Peer, cmd string, _ ...string) bool {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, cmd)
			return false
		})
		c := redis.Open(redis.Options{Addr: m.Addr(), Password: "secret", DB: 1})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, c.Ping(context.Background()).Err())
		require.NoError(t, c.Set(context.Background(), "k", "v", 0).Err())
		require.True(t, m.DB(1).Exists("k"))
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []string{"HELLO", "SELECT", "PING", "SET"}, seen)
	})

	t.Run("waits for a stopped server one read timeout", func(t *testing.T) {
		t.Parallel()
		addr, asked := silent(t)
		c := redis.Open(redis.Options{Addr: addr, ReadTimeout: 50 * time.Millisecond})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.Error(t, c.Ping(context.Background()).Err())
		require.Equal(t, 1, asked(), "no retries unless asked for")
	})

	t.Run("ends a command at its deadline", func(t *testing.T) {
		t.Parallel()
		addr, _ := silent(t)
		c := redis.Open(redis.Options{Addr: addr, ReadTimeout: time.Hour})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		require.Error(t, c.Ping(ctx).Err(), "and not in an hour")
	})
}

// silent accepts connections and counts the commands it does not reply to.
func silent(t *testing.T) (addr string, asked func() int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	var mu sync.Mutex
	connections := 0
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			connections++
			mu.Unlock()
			go func() {
				_, _ = bufio.NewReader(conn).WriteTo(&bytes.Buffer{}) // until the client gives up
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return connections
	}
}

// Not parallel: go-redis has one logger per process.
func TestRouteLogs(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	redis.RouteLogs(zerolog.New(lockedWriter{&mu, &out}))
	t.Cleanup(func() { redis.RouteLogs(zerolog.Nop()) })
	m := miniredis.RunT(t)
	c := redis.Open(redis.Options{Addr: m.Addr(), Password: "top-secret"})
	m.Close()
	require.Error(t, c.Ping(context.Background()).Err())
	require.NoError(t, c.Close())
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, out.String(), `"level":"warn","component":"redis"`)
	require.NotContains(t, out.String(), "top-secret")
	require.False(t, strings.HasPrefix(out.String(), "redis:"))
}

type lockedWriter struct {
	mu  *sync.Mutex
	out *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}
