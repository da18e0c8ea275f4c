package httpserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Limits of one route. Zero values take the server's own.
type Limits struct {
	Body int64 // bytes of a request's body, however it is sent
	// Timeout of the whole request, its body included; then its context ends and the answer is a 503. The connection's
	// own deadlines (Serve) are moved to fit. NoTimeout: it lasts until the client or the handler ends it.
	Timeout time.Duration
}

// NoTimeout is the Timeout of a stream. Every write to it needs a deadline of its own, as Events has one: a client that
// takes nothing off must not hold a connection for ever.
const NoTimeout time.Duration = -1

// answerTime is what is left for writing an answer when a route with a timeout of its own has used that up.
const answerTime = 15 * time.Second

// limiter knows what each route may take.
type limiter struct {
	usual  Limits
	routes map[string]Limits // by "METHOD /pattern"
}

func (l limiter) of(c echo.Context) Limits {
	limits := l.routes[c.Request().Method+" "+c.Path()]
	if limits.Body == 0 {
		limits.Body = l.usual.Body
	}
	if limits.Timeout == 0 {
		limits.Timeout = l.usual.Timeout
	}
	return limits
}

// body refuses a body that says it is too large, and cuts off one that does not say.
func (l limiter) body(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		limits, r := l.of(c), c.Request()
		if l.routes[r.Method+" "+c.Path()].Timeout != 0 {
			moveDeadlines(c, limits.Timeout)
		}
		// The bare writer: MaxBytesReader tells net/http through it to close the connection afterwards.
		r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, limits.Body)
		if r.ContentLength > limits.Body {
			// Read up to the limit all the same: net/http then lets the client read the answer before it closes. A
			// connection closed with the body still unread is reset, and the answer is lost.
			_, _ = io.Copy(io.Discard, r.Body)
			return &http.MaxBytesError{Limit: limits.Body}
		}
		return next(c)
	}
}

// moveDeadlines makes the connection wait as long as the request may take. A writer without a connection, as tests have,
// has no deadlines to move.
func moveDeadlines(c echo.Context, timeout time.Duration) {
	connection := http.NewResponseController(c.Response().Writer)
	if timeout == NoTimeout {
		_ = connection.SetWriteDeadline(time.Time{})
		return
	}
	now := time.Now()
	_ = connection.SetWriteDeadline(now.Add(timeout + answerTime))
	if c.Request().ContentLength != 0 { // without a body net/http reads on to see the client go, and must not stop
		_ = connection.SetReadDeadline(now.Add(timeout))
	}
}

// timeout ends what a request waits for when a dependency hangs instead of failing.
func (l limiter) timeout(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		timeout := l.of(c).Timeout
		if timeout <= 0 {
			return next(c)
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), timeout)
		defer cancel()
		c.SetRequest(c.Request().WithContext(ctx))
		err := next(c)
		if errors.Is(err, context.DeadlineExceeded) {
			return echo.ErrServiceUnavailable.WithInternal(err)
		}
		return err
	}
}
