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

// Limits of one route. Zero values take the server's own. They count from when the route's handler calls [Extend]: until
// then the server's own do, so that a client gains nothing from a route that it may not use.
type Limits struct {
	Body int64 // bytes of a request's body, however it is sent
	// Timeout of what is left of the request, its body included. Then its context ends and the response is a 503. The
	// connection's deadlines are moved to fit. With NoTimeout the request lasts until the client or the handler ends it.
	Timeout time.Duration
}

// NoTimeout is the Timeout of a stream. Every write to it needs a deadline of its own, as in [Events]: a client that
// does not read must not hold a connection for ever.
const NoTimeout time.Duration = -1

// responseTime is what is left for writing the response when a route has used up a timeout of its own.
const responseTime = 15 * time.Second

// refusalTime is how long a client that is refused with an unread body may take to read the response.
const refusalTime = 500 * time.Millisecond

// limiter has the limits of each route.
type limiter struct {
	usual  Limits
	routes map[string]Limits // by "METHOD /pattern"
}

const extensionKey = "extension"

// extension is what [Extend] needs to know of a request.
type extension struct {
	limits  Limits // of the route
	done    bool
	body    io.ReadCloser   // without a limit
	ctx     context.Context // without the server's timeout
	release func()          // the context that Extend has made
}

// body refuses a body whose Content-Length is too large, and cuts off one without.
func (l limiter) body(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		limits, ok := l.routes[r.Method+" "+c.Path()]
		if !ok {
			if err := limitBody(c, r.Body, l.usual.Body); err != nil {
				return err
			}
			return next(c)
		}
		limits.Body = cmp.Or(limits.Body, l.usual.Body)
		x := &extension{limits: limits, body: r.Body, ctx: r.Context(), release: func() {}}
		defer func() { x.release() }()
		c.Set(extensionKey, x)
		// How long the body may be is decided by Extend.
		r.Body = http.MaxBytesReader(c.Response().Writer, x.body, min(limits.Body, l.usual.Body))
		err := next(c)
		if err != nil && !x.done && r.ContentLength != 0 {
			leaveUnread(c)
		}
		return err
	}
}

// limitBody limits the rest of the request's body. It refuses one whose Content-Length is too large.
func limitBody(c echo.Context, body io.ReadCloser, limit int64) error {
	r := c.Request()
	// The bare writer: through it MaxBytesReader makes net/http close the connection afterwards.
	r.Body = http.MaxBytesReader(c.Response().Writer, body, limit)
	if r.ContentLength <= limit {
		return nil
	}
	// Read up to the limit all the same: net/http then lets the client read the response before it closes. A connection
	// closed with an unread body is reset, and the response is lost.
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.MaxBytesError{Limit: limit}
}

// leaveUnread has the response sent without waiting for the body, and the connection closed soon after it. Otherwise
// net/http reads up to 256 KiB of it, as slowly as they come.
func leaveUnread(c echo.Context) {
	c.Response().Header().Set(echo.HeaderConnection, "close")
	_ = http.NewResponseController(c.Response().Writer).SetReadDeadline(time.Now().Add(refusalTime))
}

// Extend gives the request the [Limits] of its route. A handler calls it once it knows that the caller may do what they
// ask for, and before it reads the body. It returns a *[http.MaxBytesError] when the body is too large. Contexts made before
// it keep the server's timeout: use that of the request afterwards.
func Extend(c echo.Context) error {
	x, ok := c.Get(extensionKey).(*extension)
	if !ok || x.done {
		return nil
	}
	x.done = true
	if x.limits.Timeout != 0 {
		moveDeadlines(c, x.limits.Timeout)
		c.SetRequest(c.Request().WithContext(x.extend(c.Request().Context())))
	}
	return limitBody(c, x.body, x.limits.Body)
}

// extend returns a context with the values of ctx that ends when the client goes, or at the route's own timeout.
func (x *extension) extend(ctx context.Context) context.Context {
	ctx = context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	if x.limits.Timeout == NoTimeout {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, x.limits.Timeout)
	}
	stop := context.AfterFunc(x.ctx, cancel)
	x.release = func() {
		stop()
		cancel()
	}
	return ctx
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
		if l.usual.Timeout > 0 {
			ctx, cancel := context.WithTimeout(c.Request().Context(), l.usual.Timeout)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
		}
		err := next(c)
		if _, timed := c.Request().Context().Deadline(); timed && errors.Is(err, context.DeadlineExceeded) {
			return echo.ErrServiceUnavailable.WithInternal(err)
		}
		return err
	}
}
