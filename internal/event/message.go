package event

import (
	"maps"
	"math"
	"slices"
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
	Alone       bool // it was ErrRejected before: Send puts nothing else at risk with it. Not on the wire
	Headers     map[string]string
	Body        []byte // never logged: it can hold codes and addresses
}

// The headers this service writes. They are its own words: the broker's x-death family is stripped on every
// republish, because newer brokers ignore what a client wrote there (rabbitmq-server#10709, #11331).
const (
	HeaderTraceparent = "traceparent"        // W3C Trace Context
	HeaderRoutingKey  = "x-routing-key"      // the original key, once a message travels through retry and dead queues
	HeaderAttempts    = "x-attempts"         // failed tries so far
	HeaderMoves       = "x-moves"            // how often it was republished to a retry or dead queue; names the copy
	HeaderUnnamed     = "x-unnamed"          // it came without an id, and got the one it has from us
	HeaderForeignID   = "x-foreign-id"       // what is known of the id it came with, which cannot be used: length and digest
	HeaderFirstFailed = "x-first-failed-at"  // RFC 3339, starts the clock of Policy.GiveUpAfter
	HeaderError       = "x-last-error-class" // a class, never an error's text: texts can quote addresses
	HeaderDeadReason  = "x-dead-reason"
	HeaderDeadAt      = "x-dead-at" // RFC 3339
)

// ownHeaders are all of them.
var ownHeaders = []string{
	HeaderTraceparent, HeaderRoutingKey, HeaderAttempts, HeaderMoves, HeaderUnnamed, HeaderForeignID, HeaderFirstFailed,
	HeaderError, HeaderDeadReason, HeaderDeadAt,
}

// OwnHeader reports whether this service writes headers of this name.
func OwnHeader(name string) bool { return slices.Contains(ownHeaders, name) }

// Delivery is a Message as a broker hands it out.
type Delivery struct {
	Message
	// Unfit is why no handler may see the message; nil for all but a few. It is a [Permanent] error.
	Unfit     error
	HandedOut int // how often the broker has handed it out before, by its own count; a crash loop's only trace
	// PausedFor is how long its lane has been paused since FirstFailed: time that does not count toward GiveUpAfter.
	PausedFor time.Duration
	// Decoded, where a middleware sets it, is filled by Handle, so that an event is decoded once.
	Decoded *Received
}

// Attempts is the number of failed tries so far; 0 on a first delivery.
func (m Message) Attempts() int { return m.count(HeaderAttempts) }

// Moves is how often the message was republished; 0 for the copy its producer sent. ID and Moves together name
// one copy: the broker handing that very copy out again, or a newer one, can be told apart.
func (m Message) Moves() int { return m.count(HeaderMoves) }

func (m Message) count(header string) int {
	n, err := strconv.Atoi(m.Headers[header])
	if err != nil || n < 0 {
		return 0
	}
	return min(n, math.MaxInt32) // which has room for one more
}

// FirstFailed is when the first try failed; zero when none has.
func (m Message) FirstFailed() time.Time {
	t, _ := time.Parse(time.RFC3339Nano, m.Headers[HeaderFirstFailed]) // zero with an error
	return t
}

// Moved returns m on its way to one of our own queues: the same event, the given headers written over its own. One that
// came without an id gets one: from here on it can be recognised, and named.
func (m Message) Moved(queue string, headers map[string]string) Message {
	m.Exchange, m.RoutingKey, m.Mandatory = "", queue, true
	merged := make(map[string]string, len(m.Headers)+len(headers)+1)
	maps.Copy(merged, m.Headers)
	maps.Copy(merged, headers)
	if m.ID == "" {
		m.ID, merged[HeaderUnnamed] = NewID(), "true"
	}
	m.Headers = merged
	return m
}

// CameUnnamed reports whether m's producer gave it no id, whatever it has got from us since.
func (m Message) CameUnnamed() bool { return m.ID == "" || m.Headers[HeaderUnnamed] != "" }

// Arrived returns m with the routing key its producer gave it, which may be none, whatever queues it has travelled
// through since.
func (m Message) Arrived() Message {
	if key, moved := m.Headers[HeaderRoutingKey]; moved {
		m.RoutingKey = key
	}
	return m
}
