// Package rabbitmq is the event package's broker: topology, confirmed publishing, consuming with the retry ladder
// and dead-letter queues at the broker, and the handling of dead letters.
//
// It promises that a confirmed message was on disk at the broker, that nothing is acked before its work is done,
// that an ack never reaches another message than its own, and that a message for which the broker closes a channel costs
// no other its result. It does not promise order, nor that a message is
// delivered once: a lost connection hands everything unacked out again.
package rabbitmq
