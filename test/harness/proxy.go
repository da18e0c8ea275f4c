package harness

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy passes TCP connections to a server.
type Proxy struct {
	listener net.Listener

	mu     sync.Mutex
	frozen chan struct{} // closed for the connections made so far
	muted  chan struct{} // the same of what their clients send
	opened []net.Conn
}

// NewProxy starts a Proxy before target, an address, that ends with its test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &Proxy{listener: listener, frozen: make(chan struct{}), muted: make(chan struct{})}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			frozen, muted := p.add(client)
			done.Go(func() { pass(server, client, frozen, muted) })
			done.Go(func() { pass(client, server, frozen, nil) })
		}
	})
	tb.Cleanup(func() {
		require.NoError(tb, listener.Close())
		p.mu.Lock()
		for _, client := range p.opened {
			_ = client.Close()
		}
		p.mu.Unlock()
		done.Wait()
	})
	return p
}

func (p *Proxy) add(client net.Conn) (frozen, muted <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = append(p.opened, client)
	return p.frozen, p.muted
}

// pass copies from one side to the other until either ends, or the path is frozen, or this side of it is muted.
func pass(to, from net.Conn, frozen, muted <-chan struct{}) {
	defer func() { _ = from.Close() }()
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-frozen:
			_, _ = io.Copy(io.Discard, from) // until that side closes
			return
		case <-muted:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// Freeze has the connections that are open accept what is sent and pass nothing on, without a reset. New ones work.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

// Mute is Freeze for what the clients send: they still get what the server sends.
func (p *Proxy) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.muted)
	p.muted = make(chan struct{})
}

// Port is where the proxy listens, on 127.0.0.1.
func (p *Proxy) Port() string {
	_, port, _ := net.SplitHostPort(p.listener.Addr().String()) // an address of a listener has a port
	return port
}

// Connections returns how many connections there have been.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.opened)
}
