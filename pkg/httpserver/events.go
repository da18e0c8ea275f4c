package httpserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	streamKey   = "stream"
	observerKey = "observer"
)

// defaultEventTimeout is how long a client may leave an event unread.
const defaultEventTimeout = 10 * time.Second

// EventOptions of a stream. Zero values take the defaults in brackets.
type EventOptions struct {
	Retry        time.Duration // [the client's own] after which the client reconnects when the stream has ended
	WriteTimeout time.Duration // [10 s] for each event; the stream of a client that takes longer to read it ends
}

// Events is an open stream of server-sent events (text/event-stream). It is not safe for concurrent use.
//
// Its route needs Limits{Timeout: NoTimeout}, and its handler calls [Extend] before it. The handler ends the stream by
// returning: on the first error of a method, which means that the client has disconnected or does not read; when the
// request's context ends; and when [Draining] is closed. It defers [Events.End].
type Events struct {
	response   *echo.Response
	connection *http.ResponseController
	timeout    time.Duration
}

// OpenEvents responds 200 and begins the stream; refuse the request before. From then on it counts in http_streams_open
// and not in http_request_duration_seconds.
func OpenEvents(c echo.Context, o EventOptions) (*Events, error) {
	if by, ok := c.Get(observerKey).(*observer); ok {
		by.streams.WithLabelValues(route(c)).Inc()
		c.Set(streamKey, true)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // or nginx buffers events before it passes them on
	e := &Events{
		response:   c.Response(),
		connection: http.NewResponseController(c.Response().Writer),
		timeout:    cmp.Or(o.WriteTimeout, defaultEventTimeout),
	}
	c.Response().WriteHeader(http.StatusOK)
	if o.Retry > 0 {
		return e, e.write(fmt.Appendf(nil, "retry: %d\n\n", o.Retry.Milliseconds()))
	}
	return e, e.Beat()
}

// Event is one event as it is written. It can be sent on any number of streams.
type Event []byte

// NewEvent returns an event with name, id unless it is empty, and data as JSON. A client that reconnects sends the last id
// it has seen as Last-Event-ID. name and id must be one line each.
func NewEvent(name, id string, data any) (Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("httpserver: encoding the event %q: %w", name, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "data: %s\n\n", encoded) // JSON contains no line breaks
	return b.Bytes(), nil
}

// Send writes one event at once; see [NewEvent].
func (e *Events) Send(name, id string, data any) error {
	event, err := NewEvent(name, id, data)
	if err != nil {
		return err
	}
	return e.SendEvent(event)
}

// SendEvent writes at once an event that other streams may be sent as well.
func (e *Events) SendEvent(event Event) error { return e.write(event) }

// Beat writes a comment, which clients ignore: it keeps proxies from closing the stream, and fails when the client has
// disconnected.
func (e *Events) Beat() error { return e.write([]byte(":\n\n")) }

// End gives the end of the stream time of its own. That of the last event may have passed, and the client would take the
// stream for one that was cut.
func (e *Events) End() { e.renew() }

// renew gives what is written next its time. A writer without a connection, as in tests, has no deadline.
func (e *Events) renew() { _ = e.connection.SetWriteDeadline(time.Now().Add(e.timeout)) }

func (e *Events) write(text []byte) error {
	e.renew()
	_, err := e.response.Write(text)
	if err == nil {
		err = e.connection.Flush()
	}
	if err != nil {
		return fmt.Errorf("httpserver: writing to a stream: %w", err)
	}
	return nil
}
