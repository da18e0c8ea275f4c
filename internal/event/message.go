package event

import (
	"strconv"
	"time"
)

// Message is one event on the wire, broker-neutral. ID is the event id and becomes the AMQP message_id.
type Message struct {
	ID          string
	Exchange    string // "" is the broker's default exchange: RoutingKey is then a queue's name
	RoutingKey  string
	ContentType string
	Timestamp   time.Time
	Mandatory   bool // a message no queue takes comes back as ErrUnroutable instead of vanishing
	Headers     map[string]string
	Body        []byte // never logged: it can hold codes and addresses
}

// The headers this service writes. They are its own words: the broker's x-death family is stripped on every
// republish, because newer brokers ignore what a client wrote there (rabbitmq-server#10709, #11331).
const (
	HeaderTraceparent = "traceparent"        // W3C Trace Context
	HeaderRoutingKey  = "x-routing-key"      // the original key, once a message travels through retry and dead queues
	HeaderAttempts    = "x-attempts"         // failed tries so far
	HeaderFirstFailed = "x-first-failed-at"  // RFC 3339, starts the clock of Policy.GiveUpAfter
	HeaderError       = "x-last-error-class" // a class, never an error's text: texts can quote addresses
	HeaderDeadReason  = "x-dead-reason"
	HeaderDeadAt      = "x-dead-at" // RFC 3339
)

// Delivery is a Message as a broker hands it out.
type Delivery struct {
	Message
	HandedOut int // how often the broker has handed it out before, by its own count; a crash loop's only trace
}

// Attempts is the number of failed tries so far; 0 on a first delivery.
func (d Delivery) Attempts() int {
	n, err := strconv.Atoi(d.Headers[HeaderAttempts])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// FirstFailed is when the first try failed; zero when none has.
func (d Delivery) FirstFailed() time.Time {
	t, err := time.Parse(time.RFC3339Nano, d.Headers[HeaderFirstFailed])
	if err != nil {
		return time.Time{}
	}
	return t
}
