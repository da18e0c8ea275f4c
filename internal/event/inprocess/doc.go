// Package inprocess is the event package's broker in memory, for cmd/standalone and for tests. It keeps the contract
// of event/rabbitmq: topic patterns, a result for every message, work before the ack, the retry ladder, dead
// queues, and it passes the same suite (eventtest.Conformance).
//
// It does not promise durability: what it holds ends with the process. To limit the loss, Send returns
// event.ErrUnavailable from the moment Consume is asked to stop, so that the outbox keeps what has not been sent, and
// Consume hands out what is ready until its drain timeout ends. What is left – mostly messages waiting in a retry
// level – is logged with its counts. Memory is the only bound on a queue's length, and there is no crash-loop rule,
// because a crash takes the queue with it.
package inprocess
