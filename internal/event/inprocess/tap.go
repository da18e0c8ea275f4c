package inprocess

import "github.com/smap-platform/identity/internal/event"

// tapSize is how many messages a tap holds for a reader that is slow.
const tapSize = 64

type tap struct {
	pattern  string
	messages chan event.Message
}

// Tap shows a copy of every message sent to event.Exchange whose key matches pattern, in the order of sending,
// retries not included. It never holds the broker up: a reader more than 64 messages behind misses the newest. The
// function ends the tap and closes its channel; calling it twice is harmless. Bodies can hold codes: a tap is for
// demonstrations and tests.
func (b *Broker) Tap(pattern string) (<-chan event.Message, func()) {
	t := &tap{pattern: pattern, messages: make(chan event.Message, tapSize)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taps[t] = struct{}{}
	return t.messages, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, open := b.taps[t]; open {
			delete(b.taps, t)
			close(t.messages)
		}
	}
}

func (b *Broker) copyToTaps(m event.Message) {
	if m.Exchange != event.Exchange {
		return
	}
	for t := range b.taps {
		if !matches(t.pattern, m.RoutingKey) {
			continue
		}
		select {
		case t.messages <- m:
		default:
		}
	}
}
