// Package database owns the connection pool, the transaction that travels in a context ([DB.WithinTx]), the database's
// clock ([Clock]) and the few differences between PostgreSQL and SQLite ([Dialect]).
//
// One SQL text serves both engines: $1 placeholders, ON CONFLICT … RETURNING and UTC times truncated to microseconds.
// The package knows no table.
//
// It does not promise retries: a deadlock or a lost connection is returned to the caller, whose request or message is
// repeated as a whole.
package database
