package rabbitmq

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, most := range map[int]time.Duration{
		0: minBackoff, 1: 2 * minBackoff, 5: 32 * minBackoff, 7: maxBackoff, 1_000_000: maxBackoff,
	} {
		for range 100 {
			d := backoff(failures)
			require.GreaterOrEqual(t, d, most/2)
			require.Less(t, d, most)
		}
	}
}

func TestSupervise(t *testing.T) {
	t.Parallel()
	t.Run("reports an absent broker once and without its password", func(t *testing.T) {
		t.Parallel()
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, closed.Close())
		var log lines
		o := Options{
			URL: "amqp://user:hunter2@" + closed.Addr().String() + "/", Name: "test", Log: zerolog.New(&log),
		}
		_, err = Dial(context.Background(), o)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")

		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- Supervise(ctx, o, func(context.Context, *amqp.Connection) error { panic("there is no connection") })
		}()
		require.Eventually(t, func() bool { return log.count("reconnecting") >= 3 }, patience, time.Millisecond)
		cancel()
		require.NoError(t, next(t, ended))
		require.Equal(t, 1, log.count(`"level":"warn"`))
		require.Zero(t, log.count("hunter2"))
	})
}

func TestDial(t *testing.T) {
	t.Parallel()
	t.Run("does not quote a malformed URL", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"http://user:hunter2@localhost", "amqp://user:hunter2@local host/", "amqp://user:hunter2@localhost:port/"} {
			_, err := Dial(context.Background(), Options{URL: bad})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		}
	})

	// A broker that is stopped (SIGSTOP) still has its connections accepted by the kernel.
	t.Run("gives up a handshake that hangs", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, silent.Close()) })
		accepted := make(chan net.Conn, 1)
		go func() {
			if c, err := silent.Accept(); err == nil {
				accepted <- c
			}
		}()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- Supervise(ctx, Options{URL: "amqp://" + silent.Addr().String()}, nil) }()
		hanging := next(t, accepted)
		t.Cleanup(func() { require.NoError(t, hanging.Close()) })
		started := time.Now()
		cancel()
		require.NoError(t, next(t, ended))
		require.Less(t, time.Since(started), dialTimeout/2)
	})

	t.Run("bounds a write that the broker does not read", func(t *testing.T) {
		t.Parallel()
		ours, theirs := net.Pipe()
		t.Cleanup(func() { require.NoError(t, ours.Close()) })
		t.Cleanup(func() { require.NoError(t, theirs.Close()) })
		c := &writeDeadlineConn{Conn: ours, timeout: 20 * time.Millisecond}
		_, err := c.Write([]byte("unread"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// TestIntegration runs on the server that RABBITMQ_URL names, when INTEGRATION is set (make test-integration).
func TestIntegration(t *testing.T) {
	if os.Getenv("INTEGRATION") == "" {
		return
	}
	t.Run("reconnects after cuts, and every session ends", reconnects)
	t.Run("a session's own failure is reported and tried again", failingSession)
}

func proxied(t *testing.T) (*toxiproxy.Proxy, Options) {
	t.Helper()
	require.NotEmpty(t, os.Getenv("RABBITMQ_URL"), "INTEGRATION is set but RABBITMQ_URL is not; run make test-integration")
	u, err := url.Parse(os.Getenv("RABBITMQ_URL"))
	require.NoError(t, err)
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), t.Name(), "127.0.0.1:0", u.Host)
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	u.Host = proxy.Listen
	return proxy, Options{URL: u.String(), Name: "test supervise", Log: zerolog.Nop()}
}

func reconnects(t *testing.T) {
	proxy, o := proxied(t)
	begun, causes := make(chan struct{}, 1), make(chan error, 10)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Supervise(ctx, o, func(life context.Context, conn *amqp.Connection) error {
			ch, err := conn.Channel()
			if err != nil {
				return err
			}
			defer func() { _ = ch.Close() }()
			begun <- struct{}{}
			<-life.Done()
			causes <- context.Cause(life)
			return nil
		})
	}()
	for range 4 {
		next(t, begun)
		proxy.Stop()
		require.ErrorContains(t, next(t, causes), "connection lost")
		require.NoError(t, proxy.Start())
	}
	next(t, begun)
	cancel()
	require.ErrorIs(t, next(t, causes), context.Canceled)
	require.NoError(t, next(t, ended))
}

func failingSession(t *testing.T) {
	_, o := proxied(t)
	var log lines
	o.Log = zerolog.New(&log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	sessions := make(chan *amqp.Connection, 10)
	go func() {
		ended <- Supervise(ctx, o, func(_ context.Context, conn *amqp.Connection) error {
			sessions <- conn
			return errors.New("the topology is wrong")
		})
	}()
	first := next(t, sessions)
	next(t, sessions)
	require.True(t, first.IsClosed())
	cancel()
	require.NoError(t, next(t, ended))
	require.Equal(t, 1, log.count(`"level":"warn"`))
	require.Positive(t, log.count("the topology is wrong"))
}
