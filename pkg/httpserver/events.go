package httpserver

import (
	"bytes"
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

// defaultEventTimeout is how long a client may leave an event on the connection.
const defaultEventTimeout = 10 * time.Second

// EventOptions of a stream. Zero values take the defaults in brackets.
type EventOptions struct {
	Retry        time.Duration // [the client's own] after which the client shall come back when the stream has ended
	WriteTimeout time.Duration // [10 s] for each event; the stream of a client that takes longer to read it is over
}

// Events is an open stream of server-sent events (text/event-stream). Not safe for concurrent use.
//
// Its route needs Limits{Timeout: NoTimeout}. It ends when the handler returns: on the first error of a method, which
// means that the client has gone or does not read; when the request's context ends; and when Draining says so.
type Events struct {
	response   *echo.Response
	connection *http.ResponseController
	timeout    time.Duration
}

// OpenEvents answers 200 and begins the stream; what refuses the request must come before. From then on the request
// counts in http_streams_open and not in http_request_duration_seconds.
func OpenEvents(c echo.Context, o EventOptions) (*Events, error) {
	if o.WriteTimeout == 0 {
		o.WriteTimeout = defaultEventTimeout
	}
	if by, ok := c.Get(observerKey).(*observer); ok {
		by.streams.WithLabelValues(route(c)).Inc()
		c.Set(streamKey, true)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would otherwise collect events before it passes them on
	e := &Events{response: c.Response(), connection: http.NewResponseController(c.Response().Writer), timeout: o.WriteTimeout}
	c.Response().WriteHeader(http.StatusOK)
	if o.Retry > 0 {
		return e, e.write(fmt.Appendf(nil, "retry: %d\n\n", o.Retry.Milliseconds()))
	}
	return e, e.write([]byte(":\n\n"))
}

// Send writes one event at once: name, id when there is one, and data as JSON. A client that comes back names the last
// id it has seen in Last-Event-ID. name and id must be of one line.
func (e *Events) Send(name, id string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("httpserver: encoding the event %q: %w", name, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "data: %s\n\n", encoded) // JSON has no line breaks in it
	return e.write(b.Bytes())
}

// Beat writes a comment, which clients ignore: proxies see that the stream lives, and we see whether the client does.
func (e *Events) Beat() error { return e.write([]byte(":\n\n")) }

func (e *Events) write(text []byte) error {
	_ = e.connection.SetWriteDeadline(time.Now().Add(e.timeout)) // without a connection, as in tests, there is none
	if _, err := e.response.Write(text); err != nil {
		return fmt.Errorf("httpserver: the stream's client has gone: %w", err)
	}
	if err := e.connection.Flush(); err != nil {
		return fmt.Errorf("httpserver: the stream's client has gone: %w", err)
	}
	return nil
}
