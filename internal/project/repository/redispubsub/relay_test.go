package redispubsub

import (
	"net"
	"sync/atomic"
)

// relay forwards connections to addr, and drops replies after it receives false.
func relay(listener net.Listener, addr string, replies <-chan bool) {
	var mute atomic.Bool
	go func() { mute.Store(!<-replies) }()
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", addr)
		if err != nil {
			_ = client.Close()
			return
		}
		go pass(server, client, func() bool { return false })
		go pass(client, server, mute.Load)
	}
}

// pass copies from src to dst, and discards what it reads while drop returns true.
func pass(dst, src net.Conn, drop func() bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buffer := make([]byte, 4096)
	for {
		n, err := src.Read(buffer)
		if err != nil {
			return
		}
		if drop() {
			continue
		}
		if _, err := dst.Write(buffer[:n]); err != nil {
			return
		}
	}
}
