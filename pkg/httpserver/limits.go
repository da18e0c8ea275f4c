package httpserver

import (
	"cmp"
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
	// Timeout of the whole request, its body included. Then its context ends and the response is a 503. The connection's
	// deadlines are moved to fit. With NoTimeout the request lasts until the client or the handler ends it.
	Timeout time.Duration
}

// NoTimeout is the Timeout of a stream. Every write to it needs a deadline of its own, as in [Events]: a client that
// does not read must not hold a connection for ever.
const NoTimeout time.Duration = -1

// responseTime is what is left for writing the response when a route has used up a timeout of its own.
const responseTime = 15 * time.Second

// limiter has the limits of each route.
type limiter struct {
	usual  Limits
	routes map[string]Limits // by "METHOD /pattern"
}

func (l limiter) of(c echo.Context) Limits {
	limits := l.routes[c.Request().Method+" "+c.Path()]
	return Limits{
		Body:    cmp.Or(limits.Body, l.usual.Body),
		Timeout: cmp.Or(limits.Timeout, l.usual.Timeout),
	}
}

// body refuses a body whose Content-Length is too large, and cuts off one without.
func (l limiter) body(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		limits, r := l.of(c), c.Request()
		if l.routes[r.Method+" "+c.Path()].Timeout != 0 {
			moveDeadlines(c, limits.Timeout)
		}
		// The bare writer: through it MaxBytesReader makes net/http close the connection afterwards.
		r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, limits.Body)
		if r.ContentLength > limits.Body {
			// Read up to the limit all the same: net/http then lets the client read the response before it closes. A
			// connection closed with an unread body is reset, and the response is lost.
			_, _ = io.Copy(io.Discard, r.Body)
			return &http.MaxBytesError{Limit: limits.Body}
		}
		return next(c)
	}
}

// moveDeadlines makes the connection wait as long as the request may last. A writer without a connection, as in tests,
// has no deadlines to move.
func moveDeadlines(c echo.Context, timeout time.Duration) {
	connection := http.NewResponseController(c.Response().Writer)
	if timeout == NoTimeout {
		_ = connection.SetWriteDeadline(time.Time{})
		return
	}
	now := time.Now()
	_ = connection.SetWriteDeadline(now.Add(timeout + responseTime))
	if c.Request().ContentLength != 0 { // without a body net/http keeps reading to see a disconnect
		_ = connection.SetReadDeadline(now.Add(timeout))
	}
}

// timeout ends the context of a request whose dependency hangs instead of failing.
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
