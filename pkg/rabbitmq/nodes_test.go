package rabbitmq

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// node listens like a broker. It greets every client unless it is silent.
type node struct {
	listener net.Listener
	silent   bool
	asked    atomic.Int64 // connections so far

	mu   sync.Mutex
	open []net.Conn
}

func newNode(t *testing.T, silent bool) *node {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &node{listener: listener, silent: silent}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			n.asked.Add(1)
			n.mu.Lock()
			n.open = append(n.open, client)
			n.mu.Unlock()
			if !silent {
				go func() { _ = welcome(client) }()
			}
		}
	}()
	t.Cleanup(n.kill)
	return n
}

// kill ends the node and its connections, as a killed process does.
func (n *node) kill() {
	_ = n.listener.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.open {
		_ = c.Close()
	}
}

func (n *node) url() string { return "amqp://user:hunter2@" + n.listener.Addr().String() + "/" }

func cluster(nodes ...*node) Options {
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = n.url()
	}
	return Options{URL: strings.Join(urls, ","), Name: "test", Log: zerolog.Nop()}
}

func drop(conn *amqp.Connection) { _ = conn.CloseDeadline(time.Now()) }

func TestNodes(t *testing.T) {
	t.Parallel()
	t.Run("spreads connections over all of them", func(t *testing.T) {
		t.Parallel()
		nodes := []*node{newNode(t, false), newNode(t, false), newNode(t, false)}
		for range 90 { // the odds that one has fewer than five are 1 in 10⁷
			conn, err := Dial(t.Context(), cluster(nodes...))
			require.NoError(t, err)
			drop(conn)
		}
		for _, n := range nodes {
			require.Greater(t, n.asked.Load(), int64(5))
		}
	})

	t.Run("leaves those that are gone", func(t *testing.T) {
		t.Parallel()
		killed, alive := newNode(t, false), newNode(t, false)
		killed.kill()
		for range 10 {
			conn, err := Dial(t.Context(), cluster(killed, alive))
			require.NoError(t, err)
			require.Equal(t, alive.listener.Addr().String(), conn.RemoteAddr().String())
			drop(conn)
		}
	})

	t.Run("leaves one that accepts connections and does not reply", func(t *testing.T) {
		t.Parallel()
		silent, alive := newNode(t, true), newNode(t, false)
		for silent.asked.Load() == 0 { // until it has been the first
			conn, err := Dial(t.Context(), cluster(silent, alive))
			require.NoError(t, err)
			require.Equal(t, alive.listener.Addr().String(), conn.RemoteAddr().String())
			drop(conn)
		}
	})

	t.Run("goes to another one when its own is lost", func(t *testing.T) {
		t.Parallel()
		nodes := map[string]*node{}
		one, other := newNode(t, false), newNode(t, false)
		for _, n := range []*node{one, other} {
			nodes[n.listener.Addr().String()] = n
		}
		connected := make(chan string, 10)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Supervise(ctx, cluster(one, other), func(life context.Context, conn *amqp.Connection) error {
				connected <- conn.RemoteAddr().String()
				<-life.Done()
				return nil
			})
		}()
		first := next(t, connected)
		nodes[first].kill()
		require.NotEqual(t, first, next(t, connected))
		cancel()
		require.NoError(t, next(t, ended))
	})

	t.Run("says once why none can be used, without the password", func(t *testing.T) {
		t.Parallel()
		one, other := newNode(t, false), newNode(t, false)
		one.kill()
		other.kill()
		var said []string
		for range 10 {
			_, err := Dial(t.Context(), cluster(one, other))
			require.ErrorContains(t, err, "none of 2 nodes: ")
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "\n")
			said = append(said, Plain(err).Error())
		}
		for _, text := range said {
			require.Equal(t, said[0], text, "it does not depend on the order of the tries")
		}
	})

	t.Run("hears a node that dies silently sooner than a broker that is alone", func(t *testing.T) {
		t.Parallel()
		for o, want := range map[*Options]time.Duration{
			{URL: newNode(t, false).url()}:                              heartbeat,
			{URL: cluster(newNode(t, false), newNode(t, false)).URL}:    nodeHeartbeat,
			{URL: newNode(t, false).url(), Heartbeat: 20 * time.Second}: 20 * time.Second,
		} {
			conn, err := Dial(t.Context(), *o)
			require.NoError(t, err)
			require.Equal(t, want, conn.Config.Heartbeat)
			drop(conn)
		}
	})
}
