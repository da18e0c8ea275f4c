package redis

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
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
			{"is nearly full", good + "used_memory:95\r\nmaxmemory:100\r\n", []string{
				"more than 90 % of maxmemory are used: writes are refused once it is full; raise it",
			}},
			{"has room", good + "used_memory:50\r\nmaxmemory:100\r\n", nil},
			{"has no limit", good + "used_memory:50\r\nmaxmemory:0\r\n", nil},
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
		m.Server().SetPreHook(func(p *server.Peer, cmd string, _ ...string) bool {
			if cmd == "INFO" {
				p.WriteError("NOPERM this user has no permissions to run the 'info' command")
			}
			return cmd == "INFO"
		})
		warnings, err := Check(context.Background(), c, "probe")
		require.NoError(t, err)
		require.Len(t, warnings, 2)
	})

	t.Run("finds out whether the user may listen, and leaves nobody listening", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, CheckChannels(context.Background(), c, "project:*", "user_noti:*"))
		require.Eventually(t, func() bool { return m.PubSubNumPat() == 0 }, 10*time.Second, time.Millisecond)
		m.Server().SetPreHook(func(p *server.Peer, cmd string, _ ...string) bool {
			if cmd == "PSUBSCRIBE" {
				p.WriteError("NOPERM No permissions to access a channel")
			}
			return cmd == "PSUBSCRIBE"
		})
		err := CheckChannels(context.Background(), c, "project:*", "user_noti:*")
		require.EqualError(t, err, "redis denies the user a command, a key or a channel: extend the rights of REDIS_USERNAME")
		m.Close()
		require.ErrorContains(t, CheckChannels(context.Background(), c, "project:*"), "redis does not answer")
	})

	t.Run("says in plain words what a server refuses", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		for refusal, want := range map[string]string{
			"NOAUTH Authentication required.":                                        "wants a password: set REDIS_PASSWORD",
			"WRONGPASS invalid username-password pair or user is disabled.":          "refuses the password: check REDIS_PASSWORD and REDIS_USERNAME",
			"ERR Client sent AUTH, but no password is set":                           "refuses the password: check REDIS_PASSWORD and REDIS_USERNAME",
			"ERR DB index is out of range":                                           "has no database of that number: check REDIS_STATE_DB and REDIS_CACHE_DB",
			"NOPERM this user has no permissions to run the 'evalsha' command":       "denies the user a command, a key or a channel: extend the rights of REDIS_USERNAME",
			"READONLY You can't write against a read only replica.":                  "is read-only: it is a replica",
			"NOREPLICAS Not enough good replicas to write.":                          "refuses writes: it has too few replicas",
			"OOM command not allowed when used memory > 'maxmemory'.":                "refuses writes: it is out of memory (maxmemory)",
			"MISCONF Redis is configured to save RDB snapshots":                      "refuses writes: it cannot save to its disk",
			"MASTERDOWN Link with MASTER is down":                                    "is a replica whose master is down",
			"LOADING Redis is loading the dataset in memory":                         "is loading its data",
			"BUSY Redis is busy running a script.":                                   "is busy with a script",
			"SOMETHING hunter2 at 10.0.0.1":                                          "refuses commands (SOMETHING)",
			"ERR The user executing the script can't run this command or subcommand": "denies the user a command, a key or a channel: extend the rights of REDIS_USERNAME",
			"ERR max number of clients reached":                                      "has no connection left (maxclients)",
			"ERR SELECT is not allowed in cluster mode":                              "is a cluster, which is not supported",
			"-hunter2": "refuses commands",
		} {
			m.SetError(refusal)
			_, err := Check(context.Background(), c, "probe")
			require.EqualError(t, err, "redis "+want)
		}
		m.SetError("")
		_, err := Check(context.Background(), c, "probe")
		require.NoError(t, err)
		require.Positive(t, m.TTL("probe"))
	})

	t.Run("fails without a server", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		m.Close()
		_, err := Check(context.Background(), c, "probe")
		require.EqualError(t, err, "redis does not answer: nothing listens at REDIS_HOST and REDIS_PORT")
	})

	t.Run("names the setting that leads to no server", func(t *testing.T) {
		t.Parallel()
		handler := http.NotFoundHandler()
		plain, encrypted := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
		encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
		encrypted.StartTLS()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { plain.Close(); encrypted.Close(); require.NoError(t, silent.Close()) })
		const handshake = "cannot be spoken to with TLS: check REDIS_TLS and the server's certificate"
		for _, test := range []struct {
			want    string
			options Options
		}{
			{handshake, Options{Addr: plain.Listener.Addr().String(), TLS: true}},
			{handshake, Options{Addr: encrypted.Listener.Addr().String(), TLS: true}},
			{
				"does not answer: it closes the connection; check REDIS_PORT and REDIS_TLS",
				Options{Addr: encrypted.Listener.Addr().String()},
			},
			{"does not answer: the name in REDIS_HOST is not known", Options{Addr: "nowhere.invalid:6379"}},
			{
				"does not answer in time; if it never has, check REDIS_HOST, REDIS_PORT and REDIS_TLS",
				Options{Addr: silent.Addr().String(), TLS: true, DialTimeout: 10 * time.Millisecond},
			},
		} {
			c := Open(test.options)
			_, err := Check(context.Background(), c, "probe")
			require.EqualError(t, err, "redis "+test.want)
			require.NoError(t, c.Close())
		}
	})

	t.Run("leaves the other keys alone", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		c := Open(Options{Addr: m.Addr()})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		for range 2 {
			_, err := Check(context.Background(), c, "probe", "another")
			require.NoError(t, err)
			require.Equal(t, []string{"probe"}, m.Keys())
		}
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
		warnings, err := Check(context.Background(), c, "identity:probe:test")
		require.NoError(t, err)
		require.Empty(t, warnings)
	})
}
