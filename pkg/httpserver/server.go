package httpserver

import (
	"log"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// defaultBodyLimit is what docs/compatibility.md promises.
const defaultBodyLimit = 64 << 10

// Options of a server. Zero values take the defaults in brackets.
type Options struct {
	Log       zerolog.Logger
	BodyLimit int64 // [64 KiB] bytes of a request's body, however it is sent
	// Timeout ends what a request waits for when a dependency hangs; the answer is then a 503. [none]
	Timeout time.Duration
	// Routes may take more, or less, by method and pattern as they are registered: "POST /users/:id". [none]
	Routes map[string]Limits
	// Prefix is taken off every path that starts with it ("/identity/x" is served as "/x"), for requests that have not
	// come through the ingress which strips it. [none]
	Prefix  string
	// Explain returns what a client is told for an error of a handler: another error, or the same. [the same]
	Explain func(error) error
	Tracer  trace.Tracer          // [none] a span per request, a child of the caller's traceparent
	Metrics prometheus.Registerer // [none] gets http_request_duration_seconds and http_streams_open; one server per registerer, or New panics
}

// New answers an echo without routes. Middleware that is added to it runs inside everything this package does, so a
// panic or an error of it is answered like a handler's.
//
// The client's address (Context.RealIP) is taken from X-Forwarded-For only as far as loopback, link-local and private
// addresses have written it; a client on the internet cannot choose its own.
func New(o Options) *echo.Echo {
	if o.BodyLimit == 0 {
		o.BodyLimit = defaultBodyLimit
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}

	e := echo.New()
	e.HTTPErrorHandler = answerError
	e.IPExtractor = echo.ExtractIPFromXFFHeader()
	// What net/http has to say (broken connections, mostly) is a warning in our form.
	e.StdLogger = log.New(o.Log.With().Str(zerolog.LevelFieldName, zerolog.LevelWarnValue).Logger(), "", 0)
	if o.Prefix != "" {
		e.Pre(stripPrefix(o.Prefix))
	}
	limits := limiter{usual: Limits{Body: o.BodyLimit, Timeout: o.Timeout}, routes: o.Routes}
	e.Use(
		requestID,
		securityHeaders,
		newObserver(o).middleware,
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
