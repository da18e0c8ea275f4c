package database

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/pkg/lifecycle"
)

// Clock returns the database's time without a query per call: it measures the offset to the local clock and keeps it.
// Leases and code lifetimes of all processes are thereby judged by one clock.
//
// It is exact to half a round trip, at most 1 s, plus the drift of the local clock between two Syncs.
type Clock struct {
	db     *DB
	local  func() time.Time
	offset atomic.Int64 // nanoseconds to add to the local clock
}

// syncTimeout bounds a measurement: it is exact to half a round trip. A server that was paused for a minute would
// otherwise move every clock by half of that, and leases and codes with it.
const syncTimeout = 2 * time.Second

// NewClock returns a clock that equals the local one until the first Sync.
func NewClock(db *DB) *Clock { return &Clock{db: db, local: time.Now} }

// Now returns the database's time in UTC, truncated to microseconds, which both engines can store.
func (c *Clock) Now() time.Time {
	return c.local().Add(time.Duration(c.offset.Load())).UTC().Truncate(time.Microsecond)
}

// Sync measures the offset. It fails, and keeps the last offset, when the server does not reply within 2 s. SQLite runs
// in this process, so its offset is zero.
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

// Ahead returns how far the local clock was ahead of the database's at the last Sync; negative: behind. It is 0 on SQLite,
// and before the first Sync.
func (c *Clock) Ahead() time.Duration {
	if c.db.dialect == SQLite {
		return 0
	}
	return -time.Duration(c.offset.Load())
}

// Advance moves the clock by d, of this process alone and until the next Sync: for SQLite, which has no clock to go back
// to.
func (c *Clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }

// Run syncs every 30 s until ctx ends, and then returns nil. A failed sync keeps the last offset.
func (c *Clock) Run(ctx context.Context) error {
	return lifecycle.Every(ctx, 30*time.Second, func(ctx context.Context) {
		_ = c.Sync(ctx) // the database's health check reports the failure
	})
}
