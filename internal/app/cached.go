package app

import (
	"context"
	"sync"
	"time"
)

// cached is what was found out last, asked for at most once in every and once at a time, however often it is wanted.
type cached[T any] struct {
	every time.Duration
	ask   func(ctx context.Context) T

	mu    sync.Mutex
	last  T
	at    time.Time     // of last; zero: nothing was found out yet
	asked chan struct{} // closed when the question under way has ended; nil: there is none
}

// state returns what is so. When ctx ends before that is found out, it returns what was so.
func (c *cached[T]) state(ctx context.Context) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < c.every {
		return c.last
	}
	if c.asked == nil {
		c.asked = make(chan struct{})
		go c.update(context.WithoutCancel(ctx)) // others wait for it as well
	}
	asked := c.asked
	c.mu.Unlock()
	select {
	case <-asked:
	case <-ctx.Done():
	}
	c.mu.Lock()
	return c.last
}

func (c *cached[T]) update(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := c.ask(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.at = found, time.Now()
	close(c.asked)
	c.asked = nil
}
