package httpserver

import (
	"cmp"
	"log"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// defaultBodyLimit is promised in docs/compatibility.md.
const defaultBodyLimit = 64 << 10

// Options of a server. Zero values take the defaults in brackets.
type Options struct {
	Log       zerolog.Logger
	BodyLimit int64 // [64 KiB] bytes of a request's body, however it is sent
	// Timeout ends the context of a request whose dependency hangs; the response is then a 503. [none]
	Timeout time.Duration
	// Routes has the limits of single routes, by method and pattern as they are registered: "POST /users/:id". [none]
	Routes map[string]Limits
	// Prefix is stripped from every path that starts with it ("/identity/x" is served as "/x"), for requests that did not
	// come through the ingress, which strips it. [none]
	Prefix string
	// Origins are those whose pages may call, apart from the server's own. [none]
	Origins Origins
	// Proxies are those whose X-Forwarded headers count: -For for the client's address (Context.RealIP), -Host and -Proto
	// for what the client asked for. [none]
	Proxies Proxies
	// ClientUnknown is called for each request that [PerMinute] does not limit, because no proxy says whose it is. [nothing]
	ClientUnknown func()
	// Explain returns the error that a client receives for an error of a handler. [the same error]
	Explain func(error) error
	// Wordings are by locale ([Locale]); what they lack is English. [none]
	Wordings map[string]Wording
	Tracer   trace.Tracer // [none] a span per request, a child of the caller's traceparent
	// Metrics gets http_request_duration_seconds and http_streams_open, those of all servers that share it. [none]
	Metrics prometheus.Registerer
}

// New returns an echo without routes. Middleware added to it runs inside everything this package does, so its panics
// and errors become responses like a handler's.
func New(o Options) *echo.Echo {
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}

	if o.ClientUnknown == nil {
		o.ClientUnknown = func() {}
	}
	e := echo.New()
	e.HTTPErrorHandler = respondError(o.Wordings)
	e.IPExtractor = o.Proxies.clientAddress
	// net/http's own messages, mostly about broken connections, become warnings in the service's form.
	e.StdLogger = log.New(o.Log.With().Str(zerolog.LevelFieldName, zerolog.LevelWarnValue).Logger(), "", 0)
	if o.Prefix != "" {
		e.Pre(stripPrefix(o.Prefix))
	}
	limits := limiter{
		usual:  Limits{Body: cmp.Or(o.BodyLimit, defaultBodyLimit), Timeout: o.Timeout},
		routes: o.Routes,
	}
	e.Use(
		requestID,
		securityHeaders,
		suggestRetry,
		newObserver(o).middleware,
		o.Proxies.client(o.ClientUnknown),
		o.Origins.cors(),
		crossSite{o.Origins, o.Proxies}.middleware,
		limits.body,
		recoverPanic,
		limits.timeout,
	)
	if o.Explain != nil {
		e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error { return o.Explain(next(c)) }
		})
	}
	return e
}
