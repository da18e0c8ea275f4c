// Package outbox makes an event a row of the transaction it belongs to, and a relay that brings the rows to the
// broker. A row is one copy of one message, complete: exchange, key, headers, body. Every decision is taken when it
// is inserted; the relay is blind to them.
//
// It promises that an event leaves if and only if its transaction committed, and at least once. It promises no
// order: two relays, or a row that failed and waits, let later rows go first.
//
// Rows go many at a time, and a relay that is killed repeats those it was at. A row whose message is Single goes alone,
// after the others, and is deleted before the next one goes: of these, one is repeated at most.
package outbox
