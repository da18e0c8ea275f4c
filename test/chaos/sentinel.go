package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
)

// sentinelFront passes connections on to a Sentinel, and has it name proxies in the place of the servers behind them. A
// port is replaced by one of as many digits, so that the lengths in the protocol stay right.
type sentinelFront struct {
	listener net.Listener
	target   string
	ports    *sync.Map // string to string: of a server, and of the proxy before it
	open     sync.Map
}

func newSentinelFront(target string, ports *sync.Map) (*sentinelFront, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &sentinelFront{listener: listener, target: target, ports: ports}
	go f.accept()
	return f, nil
}

func (f *sentinelFront) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		f.open.Store(client, true)
		go func() {
			_, _ = io.Copy(server, client) // until either side closes
			_ = server.Close()
			_ = client.Close()
			f.open.Delete(client)
		}()
		go func() {
			f.translate(client, server)
			_ = client.Close()
			_ = server.Close()
		}()
	}
}

// translate copies line by line.
func (f *sentinelFront) translate(to io.Writer, from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		f.ports.Range(func(own, proxy any) bool {
			line = bytes.ReplaceAll(line, []byte(own.(string)), []byte(proxy.(string)))
			return true
		})
		if _, err := to.Write(line); err != nil {
			return
		}
	}
}

func (f *sentinelFront) address() string { return f.listener.Addr().String() }

func (f *sentinelFront) close() {
	_ = f.listener.Close()
	f.open.Range(func(client, _ any) bool { _ = client.(net.Conn).Close(); return true })
}
