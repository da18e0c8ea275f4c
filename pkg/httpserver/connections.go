package httpserver

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections are the open ones of a server.
type connections struct {
	mu     sync.Mutex
	states map[net.Conn]http.ConnState
	last   time.Time     // when one came
	closed chan struct{} // has an element when one has been closed
}

func newConnections() *connections {
	return &connections{states: map[net.Conn]http.ConnState{}, closed: make(chan struct{}, 1)}
}

// note is a server's ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.last = time.Now()
		c.states[conn] = state
	case http.StateClosed, http.StateHijacked:
		delete(c.states, conn)
		select {
		case c.closed <- struct{}{}:
		default:
		}
	default:
		c.states[conn] = state
	}
}

// cease returns once nobody has connected for the time of quiet, or ctx has ended.
func (c *connections) cease(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		left := time.Until(c.last.Add(quiet))
		c.mu.Unlock()
		if left <= 0 {
			return
		}
		wait(ctx, left)
	}
}

// end returns once every connection is closed, or ctx has ended. It reports whether no request is in flight.
func (c *connections) end(ctx context.Context) bool {
	for {
		open, active := c.count()
		if open == 0 {
			return true
		}
		select {
		case <-c.closed:
		case <-ctx.Done():
			return active == 0
		}
	}
}

// count returns how many connections are open, and how many of them have a request in flight.
func (c *connections) count() (open, active int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, state := range c.states {
		if state == http.StateActive {
			active++
		}
	}
	return len(c.states), active
}
