package redis

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	t.Run("reads INFO", func(t *testing.T) {
		t.Parallel()
		const (
			good  = "# Memory\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n"
			evict = "maxmemory_policy:volatile-ttl\r\naof_enabled:1\r\n"
			noAOF = "maxmemory_policy:noeviction\r\naof_enabled:0\r\n"
		)
		tests := []struct {
			name, info string
			want       []string
		}{
			{"all is well", good, nil},
			{"evicts", evict, []string{"maxmemory-policy is volatile-ttl: state can be evicted; set it to noeviction"}},
			{"no append-only file", noAOF, []string{"appendonly is no: a crash loses what was written since the last snapshot; set it to yes"}},
			{"reports nothing", "", []string{
				"the server does not report its maxmemory-policy; make sure it is noeviction",
				"the server does not report whether it writes an append-only file; make sure appendonly is yes",
			}},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				require.Equal(t, tt.want, warningsIn(tt.info))
			})
		}
	})

	t.Run("warns of a server that refuses INFO", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, c.Ping(context.Background()).Err())
		m.SetError("NOPERM this user has no permissions to run the 'info' command")
		warnings, err := Warnings(context.Background(), c)
		require.NoError(t, err)
		require.Len(t, warnings, 2)
	})

	t.Run("fails without a server", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		m.Close()
		_, err := Warnings(context.Background(), c)
		require.ErrorContains(t, err, "does not reply")
	})

	// The server of the integration stack is set up as production must be. Elsewhere there is none to look at.
	t.Run("reads a real server", func(t *testing.T) {
		if os.Getenv("INTEGRATION") == "" {
			return
		}
		t.Parallel()
		require.NotEmpty(t, os.Getenv("REDIS_HOST"), "INTEGRATION is set but REDIS_HOST is not; run make test-integration")
		db, err := strconv.Atoi(os.Getenv("REDIS_STATE_DB"))
		require.NoError(t, err)
		c := Open(Options{
			Addr: net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT")), Password: os.Getenv("REDIS_PASSWORD"), DB: db,
		})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		warnings, err := Warnings(context.Background(), c)
		require.NoError(t, err)
		require.Empty(t, warnings)
	})
}
