package database

import "time"

// SetLocal replaces the local clock.
func (c *Clock) SetLocal(local func() time.Time) { c.local = local }
