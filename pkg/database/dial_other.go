//go:build !linux

package database

import "syscall"

// limitUnacknowledged does nothing: the option is Linux's.
func limitUnacknowledged(string, string, syscall.RawConn) error { return nil }
