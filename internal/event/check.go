package event

import "fmt"

const (
	// MinFrame is the frame size that every AMQP 0-9-1 peer accepts. What fits in it can be published anywhere.
	MinFrame = 4096
	// frameReserve is what a content header leaves free in its frame, for what the broker adds on a message's way: a
	// delivery count, and a death for each queue that it leaves through a dead-letter exchange.
	frameReserve = 1024

	maxShortString = 255
	// maxHeaders is below the 8,192 fields at which amqp091-go closes the connection it reads from, with room for those
	// that are added on a message's way.
	maxHeaders = 8000
)

// Check returns an error that wraps [ErrRejected] and names the field, never its content, when m cannot be written to
// a connection whose frames hold frameMax bytes; 0 is no limit. The client library would close the connection instead,
// and end whatever else is under way on it.
func (m Message) Check(frameMax int) error {
	for _, s := range []struct{ field, value string }{
		{"the id", m.ID},
		{"the exchange", m.Exchange},
		{"the routing key", m.RoutingKey},
		{"the original routing key", m.Arrived().RoutingKey},
		{"the content type", m.ContentType},
	} {
		if n := len(s.value); n > maxShortString {
			return fmt.Errorf("%w: %s has %d bytes, %d are allowed", ErrRejected, s.field, n, maxShortString)
		}
	}
	if n := len(m.Headers); n > maxHeaders {
		return fmt.Errorf("%w: it has %d headers, %d are allowed", ErrRejected, n, maxHeaders)
	}
	for name := range m.Headers {
		if n := len(name); n > maxShortString {
			return fmt.Errorf("%w: a header's name has %d bytes, %d are allowed", ErrRejected, n, maxShortString)
		}
	}
	if n := m.contentHeader(); frameMax > 0 && n > frameMax-frameReserve {
		return fmt.Errorf("%w: headers and properties take %d bytes, %d are allowed", ErrRejected, n, frameMax-frameReserve)
	}
	return nil
}

// contentHeader returns the size of the frame with m's headers and properties. A body is cut into frames as needed.
func (m Message) contentHeader() int {
	const (
		frame      = 7 + 1         // type, channel and size in front, the end octet behind
		fixed      = 2 + 2 + 8 + 2 // class, weight, body size, which properties follow
		properties = 1 + 8 + 4     // delivery mode, timestamp, length of the table of headers
		field      = 1 + 1 + 4     // length of the name, type, length of the string
		short      = 1             // length of a short string
		strings    = 4*short + len(Service)
	)
	n := frame + fixed + properties + strings + len(m.ID) + len(m.ContentType) + len(m.Arrived().RoutingKey)
	for name, value := range m.Headers {
		n += field + len(name) + len(value)
	}
	return n
}
