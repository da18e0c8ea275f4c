package redisdb_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes bytes on to a server, and can drop replies: the command has been carried out, and its client finds the
// connection cut.
type proxy struct {
	address  string
	upstream string
	drops    atomic.Int64 // replies to our commands that are still to be dropped
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
	t.Cleanup(func() { // after the clients, which are closed first
		require.NoError(t, listener.Close())
		running.Wait()
	})
	return p
}

// serve ends when either side does.
func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	var asked atomic.Bool // one of our commands is under way, not the client introducing itself
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

func pass(from, to net.Conn, goesOn func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !goesOn(buffer[:n]) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// silent is the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	return listener.Addr().String()
}
