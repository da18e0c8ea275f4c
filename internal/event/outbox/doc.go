// Package outbox makes an event a row of the transaction it belongs to, and a relay that brings the rows to the
// broker. A row is one copy of one message, complete: exchange, key, headers, body. Every decision is taken when it
// is inserted; the relay knows none of them.
//
// It promises that an event leaves if and only if its transaction committed, and at least once: a relay that is killed
// repeats the rows it was sending. A row that is rejected, damaged or sealed with another key holds no other row up. It
// promises no order: two relays, or a row that failed and waits, let later rows go
// first.
package outbox
