package httpserver

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/pkg/logger"
)

// observer wraps every request: it starts its span, turns its error into a response, and records the outcome.
type observer struct {
	log       zerolog.Logger
	tracer    trace.Tracer
	durations *prometheus.HistogramVec
	streams   *prometheus.GaugeVec
}

// newObserver registers nothing when o.Metrics is nil.
func newObserver(o Options) *observer {
	return &observer{
		log:    o.Log,
		tracer: o.Tracer,
		durations: shared(o.Metrics, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "http_request_duration_seconds",
			Help:    "Duration of requests, by method, route pattern and status.",
			Buckets: prometheus.DefBuckets,
		}, []string{"method", "route", "status"})),
		streams: shared(o.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "http_streams_open",
			Help: "Streams that are open now, by route pattern.",
		}, []string{"route"})),
	}
}

// shared registers c and returns it, or the same metric of another server on r. It panics when r has something else of
// that name.
func shared[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return known.ExistingCollector.(C)
	}
	if err != nil {
		panic(err)
	}
	return c
}

func (o *observer) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		ctx, span := o.start(c)
		defer span.End()
		c.SetRequest(c.Request().WithContext(ctx))
		c.Set(observerKey, o)

		err := next(c)
		if err != nil {
			c.Error(err)
		}

		took, status := time.Since(began), c.Response().Status
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		o.measure(c, took, status)
		o.write(c, took, err)
		return nil
	}
}

// measure leaves out the duration of a stream, which says nothing about how long a client has waited.
func (o *observer) measure(c echo.Context, took time.Duration, status int) {
	if c.Get(streamKey) != nil {
		o.streams.WithLabelValues(route(c)).Dec()
		return
	}
	o.durations.WithLabelValues(method(c), route(c), strconv.Itoa(status)).Observe(took.Seconds())
}

// start begins the server span as a child of the caller's (W3C Trace Context).
func (o *observer) start(c echo.Context) (context.Context, trace.Span) {
	r := c.Request()
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return o.tracer.Start(ctx, method(c)+" "+route(c),
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			semconv.HTTPRequestMethodKey.String(method(c)), semconv.HTTPRoute(route(c)), semconv.URLPath(r.URL.Path)))
}

// write writes the request's one log line. Errors below 500 appear by their code alone: their text may quote the
// request.
func (o *observer) write(c echo.Context, took time.Duration, err error) {
	r, w := c.Request(), c.Response()
	level := zerolog.InfoLevel
	if isProbe(r.URL.Path) {
		level = zerolog.DebugLevel
	}
	errorStatus, body := 0, Envelope{}
	if err != nil {
		errorStatus, body = responseTo(r.Context(), err)
	}
	if errorStatus >= http.StatusInternalServerError {
		level = zerolog.ErrorLevel
	}

	log := logger.WithTrace(r.Context(), o.log)
	line := log.WithLevel(level).
		Str("request_id", w.Header().Get(echo.HeaderXRequestID)).
		Str("method", method(c)).Str("route", route(c)).Str("path", r.URL.Path).
		Int("status", w.Status).Float64("duration_ms", float64(took.Microseconds())/1000).Int64("bytes", w.Size).
		Str("remote_ip", c.RealIP())
	if p, ok := PrincipalOf(c); ok {
		line = line.Str("user_id", p.Subject)
	}
	if err != nil {
		line = line.Int("error_code", body.ErrorCode)
	}
	if errorStatus >= http.StatusInternalServerError {
		line = line.Err(err)
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		line = line.Str("stack", string(p.stack))
	}
	line.Msg("request")
}

// method returns the request's method, or "OTHER": clients may invent methods, and every label value is a time series.
func method(c echo.Context) string {
	if m := c.Request().Method; slices.Contains(methods, m) {
		return m
	}
	return "OTHER"
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodConnect, http.MethodTrace,
}

// route returns the pattern ("/users/:id"), never the path itself.
func route(c echo.Context) string { return cmp.Or(c.Path(), "unmatched") }

// isProbe reports whether path is one that machines request every few seconds.
func isProbe(path string) bool {
	return strings.HasPrefix(path, "/health/") || slices.Contains([]string{"/live", "/ready", "/health", "/metrics"}, path)
}
