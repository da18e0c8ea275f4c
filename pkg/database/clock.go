package database

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Clock tells the database's time without asking it each time: it measures the distance to the local clock and
// keeps it. Leases and code lifetimes of all processes are thereby judged by one clock, whatever theirs say.
// Exact to half a round trip, at most syncTimeout/2, plus what the local clock drifts between two Syncs.
type Clock struct {
	db     *DB
	local  func() time.Time
	offset atomic.Int64 // nanoseconds to add to the local clock
}

// syncTimeout: an answer that took longer says too little about when the server wrote it. A server that was stopped
// for a minute would otherwise move everybody's clock by half of that, and leases and codes with it.
const syncTimeout = 2 * time.Second

// NewClock answers a clock that equals the local one until the first Sync.
func NewClock(db *DB) *Clock { return &Clock{db: db, local: time.Now} }

// Now is the database's time: UTC, truncated to microseconds, which is what both engines can store.
func (c *Clock) Now() time.Time {
	return c.local().Add(time.Duration(c.offset.Load())).UTC().Truncate(time.Microsecond)
}

// Sync measures the distance anew; it fails, and keeps the one it had, when the server does not answer within 2 s.
// SQLite lives in this process: its distance is zero.
func (c *Clock) Sync(ctx context.Context) error {
	if c.db.dialect == SQLite {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	before := c.local()
	var remote time.Time
	if err := c.db.pool.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&remote); err != nil {
		return fmt.Errorf("database: reading the server's clock: %w", err)
	}
	middle := before.Add(c.local().Sub(before) / 2)
	c.offset.Store(int64(remote.Sub(middle)))
	return nil
}

// Run syncs every 30 s until ctx ends. A failed sync keeps the last distance.
func (c *Clock) Run(ctx context.Context) error {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = c.Sync(ctx) // the database's absence is reported by its health check
		}
	}
}
