// Package database owns the connection pool, the transaction that travels in a context ([DB.WithinTx]), the database's
// clock ([Clock]) and the few differences between PostgreSQL and SQLite ([Dialect]).
//
// One SQL text serves both engines: $1 placeholders, ON CONFLICT … RETURNING and UTC times truncated to microseconds.
// The package knows no table.
//
// A connection is checked before it is used again, so that a dead path costs one caller a second and not every caller
// its deadline. [Explain] takes every error of an engine for a time of unavailability, unless it proves a defect.
//
// Of several hosts all connections of a pool lead to one: the one that takes writes, and of several the one promoted last.
// It chooses again when that one cannot be connected to, has gone silent, or refuses to write; a primary that is known to
// have been replaced is not chosen. Two processes may choose differently while an old primary still takes writes: only
// stopping it prevents that.
//
// It promises one retry, to callers of [DB.WithinTxRetry], and no other: a lost connection is returned to the caller,
// whose request or message is repeated as a whole.
package database
