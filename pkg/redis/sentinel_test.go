package redis_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/redis"
)

// sentinel is a server that says where another one is.
type sentinel struct {
	*miniredis.Miniredis
	mu     sync.Mutex
	master string // its address
}

func newSentinel(t *testing.T, master *miniredis.Miniredis) *sentinel {
	t.Helper()
	s := &sentinel{Miniredis: miniredis.RunT(t), master: master.Addr()}
	require.NoError(t, s.Server().Register("SENTINEL", func(c *server.Peer, _ string, args []string) {
		if args[0] != "get-master-addr-by-name" {
			c.WriteLen(0) // no other Sentinels
			return
		}
		if args[1] != "smap" {
			c.WriteNull()
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		host, port, _ := net.SplitHostPort(s.master)
		c.WriteStrings([]string{host, port})
	}))
	return s
}

// failOver has the sentinel name another server, and say so.
func (s *sentinel) failOver(to *miniredis.Miniredis) {
	s.mu.Lock()
	from := s.master
	s.master = to.Addr()
	s.mu.Unlock()
	words := func(address string) string {
		host, port, _ := net.SplitHostPort(address)
		return host + " " + port
	}
	s.Publish("+switch-master", "smap "+words(from)+" "+words(to.Addr()))
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	t.Run("name the server, with a password of their own", func(t *testing.T) {
		t.Parallel()
		first, second := miniredis.RunT(t), miniredis.RunT(t)
		first.RequireAuth("of the server")
		second.RequireAuth("of the server")
		s := newSentinel(t, first)
		s.RequireAuth("of the sentinels")
		c := redis.Open(redis.Options{
			Sentinels: []string{"127.0.0.1:1", s.Addr()}, Master: "smap", SentinelPassword: "of the sentinels",
			Password: "of the server", DB: 1,
		})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, c.Set(t.Context(), "k", "first", 0).Err())
		require.True(t, first.DB(1).Exists("k"))
		// The server of before is alive, and still reached: it must not be written to.
		require.Eventually(t, func() bool {
			s.failOver(second)
			return c.Set(t.Context(), "k", "second", 0).Err() == nil && second.DB(1).Exists("k")
		}, 10*time.Second, 10*time.Millisecond)
		value, err := first.DB(1).Get("k")
		require.NoError(t, err)
		require.NotEmpty(t, value)
	})

	t.Run("that name no server are named by their settings", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		s := newSentinel(t, m)
		for want, o := range map[string]redis.Options{
			"redis cannot be found: the Sentinels know no server by the name in REDIS_SENTINEL_MASTER": {Sentinels: []string{s.Addr()}, Master: "other"},
			"redis cannot be found: none of REDIS_SENTINEL_ADDRS answers":                              {Sentinels: []string{"127.0.0.1:1"}, Master: "smap"},
		} {
			c := redis.Open(o)
			_, err := redis.Check(t.Context(), c, "probe")
			require.EqualError(t, err, want)
			require.NoError(t, c.Close())
		}
	})

	t.Run("have the limits of any client", func(t *testing.T) {
		t.Parallel()
		one := redis.Open(redis.Options{Addr: "x:1", TLS: true, DB: 3, Retries: 1, PoolSize: 4, Username: "u", Password: "p"})
		t.Cleanup(func() { require.NoError(t, one.Close()) })
		c := redis.Open(redis.Options{
			Sentinels: []string{"x:1"}, Master: "smap", TLS: true, DB: 3, Retries: 1, PoolSize: 4, Username: "u", Password: "p",
		})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		got, want := *c.Options(), *one.Options()
		require.Empty(t, got.TLSConfig.ServerName, "each connection has its own")
		require.Equal(t, want.MaxRetries, got.MaxRetries)
		require.Equal(t, want.DialerRetries, got.DialerRetries)
		require.Equal(t, want.DialTimeout, got.DialTimeout)
		require.Equal(t, want.ReadTimeout, got.ReadTimeout)
		require.Equal(t, want.WriteTimeout, got.WriteTimeout)
		require.Equal(t, want.PoolTimeout, got.PoolTimeout)
		require.Equal(t, want.PoolSize, got.PoolSize)
		require.Equal(t, want.MaxActiveConns, got.MaxActiveConns)
		require.Equal(t, want.ContextTimeoutEnabled, got.ContextTimeoutEnabled)
		require.Equal(t, want.PipelinePoolSize, got.PipelinePoolSize)
		require.Equal(t, want.DisableIdentity, got.DisableIdentity)
		require.Equal(t, []any{want.DB, want.Username, want.Password}, []any{got.DB, got.Username, got.Password})
	})
}
