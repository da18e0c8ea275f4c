package redisdb_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy forwards bytes to a server and can drop replies: the server executed the command, and the client finds its
// connection closed.
type proxy struct {
	address  string
	upstream string
	drops    atomic.Int64 // replies to drop
	dropped  atomic.Int64
}

func newProxy(t *testing.T, upstream string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{address: listener.Addr().String(), upstream: upstream}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() { // after the clients are closed
		require.NoError(t, listener.Close())
		running.Wait()
	})
	return p
}

// serve returns when either side closes.
func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	var asked atomic.Bool // a script is running, not the handshake
	var requests sync.WaitGroup
	requests.Go(func() {
		defer func() { _ = server.Close() }()
		pass(client, server, func(request []byte) bool {
			if bytes.Contains(request, []byte("\r\neval")) {
				asked.Store(true)
			}
			return true
		})
	})
	pass(server, client, func([]byte) bool {
		if asked.Swap(false) && p.drops.Add(-1) >= 0 {
			p.dropped.Add(1)
			return false
		}
		return true
	})
	_, _ = client.Close(), server.Close()
	requests.Wait()
}

func pass(from, to net.Conn, forward func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !forward(buffer[:n]) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// silent returns the address of a server that accepts connections and never replies.
func silent(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	return listener.Addr().String()
}
