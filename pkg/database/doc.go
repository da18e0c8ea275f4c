// Package database owns the connection pool, the transaction that travels in a context, the clock of the
// database and the few places where PostgreSQL and SQLite speak differently.
//
// One SQL text serves both engines: $1 placeholders, ON CONFLICT … RETURNING and UTC times truncated to
// microseconds. What really differs is in Dialect. The package knows no table.
//
// It does not promise retries: a deadlock or a lost connection is returned to the caller, whose request or
// message is repeated as a whole.
package database
