package httpserver

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestRequestLog(t *testing.T) {
	t.Parallel()
	t.Run("has one line per request", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.POST("/users/:id", func(c echo.Context) error {
			SetPrincipal(c, Principal{Subject: "user-1", Name: "alice@example.com"})
			return Success(c, http.StatusCreated, nil)
		})
		r := httptest.NewRequest(http.MethodPost, "/users/42?otp=123456", strings.NewReader(`{"password":"hunter2"}`))
		r.Header.Set("Cookie", "smap_auth_token=cookie-secret")
		r.Header.Set("Authorization", "Bearer header-secret")
		r.Header.Set(echo.HeaderXRequestID, "req-1")
		r.RemoteAddr = "203.0.113.9:1234"
		w := b.do(r)

		line := b.line(t)
		require.GreaterOrEqual(t, line["duration_ms"], 0.0)
		delete(line, "duration_ms")
		require.Equal(t, map[string]any{
			"level": "info", "message": "request", "request_id": "req-1", "method": "POST", "route": "/users/:id",
			"path": "/users/42", "status": 201.0, "bytes": float64(w.Body.Len()), "remote_ip": "203.0.113.9", "user_id": "user-1",
		}, line)
	})

	t.Run("names a refusal by its code alone", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", fails(errBody.WithCause(errors.New("near \"hunter2\""))))
		b.get("/x")
		line := b.line(t)
		require.EqualValues(t, 20001, line["error_code"])
		require.NotContains(t, line, "error")
	})

	t.Run("logs probes at debug level", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		for _, path := range []string{"/live", "/ready", "/health", "/health/redis", "/metrics"} {
			b.GET(path, func(c echo.Context) error { return c.NoContent(http.StatusServiceUnavailable) })
			b.log.Reset()
			b.get(path)
			require.Equal(t, "debug", b.line(t)["level"], path)
		}
		b.log.Reset()
		b.get("/healthy")
		require.Equal(t, "info", b.line(t)["level"])

		b.GET("/health/broken", fails(errors.New("a fault")))
		b.log.Reset()
		b.get("/health/broken")
		require.Equal(t, "error", b.line(t)["level"], "a fault is a fault")
	})

	t.Run("turns net/http's own messages into warnings", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.StdLogger.Println("http: a broken connection")
		require.Equal(t, map[string]any{"level": zerolog.LevelWarnValue, "message": "http: a broken connection"}, b.line(t))
	})
}

func TestNew(t *testing.T) {
	t.Parallel()
	t.Run("sets the request id", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", fails(nil))
		for incoming, kept := range map[string]bool{
			"":                                     false,
			"3f2504e0-4f89-11d3-9a0c-0305e82c3301": true,
			"a.b:c_d-1":                            true,
			strings.Repeat("a", 128):               true,
			strings.Repeat("a", 129):               false,
			"-a":                                   false,
			"a b":                                  false,
			"a\"b":                                 false,
			"<script>":                             false,
		} {
			b.log.Reset()
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			r.Header.Set(echo.HeaderXRequestID, incoming)
			got := b.do(r).Header().Get(echo.HeaderXRequestID)
			require.Equal(t, got, b.line(t)["request_id"])
			if kept {
				require.Equal(t, incoming, got)
				continue
			}
			require.NoError(t, uuid.Validate(got), "%q is replaced", incoming)
		}
	})

	t.Run("starts a span per request", func(t *testing.T) {
		t.Parallel()
		recorder := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		b := newBench(Options{Tracer: provider.Tracer("test")})
		var inHandler trace.SpanContext
		b.GET("/users/:id", func(c echo.Context) error {
			inHandler = trace.SpanContextFromContext(c.Request().Context())
			return errors.New("a fault")
		})

		r := httptest.NewRequest(http.MethodGet, "/users/42?q=secret", nil)
		r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		b.do(r)
		spans := recorder.Ended()
		require.Len(t, spans, 1)
		span := spans[0]
		require.Equal(t, "GET /users/:id", span.Name())
		require.Equal(t, trace.SpanKindServer, span.SpanKind())
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", span.SpanContext().TraceID().String())
		require.Equal(t, "b7ad6b7169203331", span.Parent().SpanID().String())
		require.Equal(t, span.SpanContext(), inHandler)
		require.Equal(t, codes.Error, span.Status().Code)
		require.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/:id"),
			attribute.String("url.path", "/users/42"), attribute.Int("http.response.status_code", 500),
		}, span.Attributes())
		line := b.line(t)
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", line["trace_id"])
		require.Equal(t, span.SpanContext().SpanID().String(), line["span_id"])

		b.get("/nowhere")
		root := recorder.Ended()[1]
		require.False(t, root.Parent().IsValid())
		require.Equal(t, "GET unmatched", root.Name())
		require.Equal(t, codes.Unset, root.Status().Code, "404 is no fault of ours")
	})

	t.Run("measures requests", func(t *testing.T) {
		t.Parallel()
		registry := prometheus.NewRegistry()
		b := newBench(Options{Metrics: registry})
		b.GET("/users/:id", fails(nil))
		b.get("/users/1")
		b.get("/users/2")
		b.get("/a/1")
		b.get("/b/2")
		b.do(httptest.NewRequest("BREW", "/users/1", nil))

		families, err := registry.Gather()
		require.NoError(t, err)
		require.Len(t, families, 1)
		require.Equal(t, "http_request_duration_seconds", families[0].GetName())
		got := map[string]uint64{}
		for _, m := range families[0].GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetHistogram().GetSampleCount()
		}
		require.Equal(t, map[string]uint64{"GET /users/:id 200": 2, "GET unmatched 404": 2, "OTHER /users/:id 405": 1}, got)
	})

	t.Run("sets the security headers", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/page", func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderContentSecurityPolicy, "default-src 'self'")
			return c.HTML(http.StatusOK, "<p>")
		})
		for _, path := range []string{"/page", "/nowhere"} {
			h := b.get(path).Header()
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
			require.Equal(t, "DENY", h.Get("X-Frame-Options"))
			require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
			require.Equal(t, "no-store", h.Get("Cache-Control"))
		}
		require.Equal(t, "frame-ancestors 'none'", b.get("/nowhere").Header().Get("Content-Security-Policy"))
		require.Equal(t, "default-src 'self'", b.get("/page").Header().Get("Content-Security-Policy"), "a page sets its own")
	})

	t.Run("strips the prefix", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{Prefix: "/identity"})
		b.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "root") })
		b.GET("/users/:id", func(c echo.Context) error { return c.String(http.StatusOK, "user "+c.Param("id")) })
		for path, want := range map[string]string{
			"/users/1":             "user 1",
			"/identity/users/1":    "user 1",
			"/identity/users/a%2F": "user a%2F",
			"/identity/users/1?x":  "user 1",
			"/identity":            "root",
			"/identity/":           "root",
		} {
			w := b.get(path)
			require.Equal(t, http.StatusOK, w.Code, path)
			require.Equal(t, want, w.Body.String(), path)
		}
		for _, path := range []string{"/identityusers/1", "/identity/identity/users/1", "/identity%2Fusers/1"} {
			require.Equal(t, http.StatusNotFound, b.get(path).Code, path)
		}
		b.log.Reset()
		b.get("/identity/users/1")
		require.Equal(t, "/users/1", b.line(t)["path"])

		plain := newBench(Options{})
		plain.GET("/users/:id", fails(nil))
		require.Equal(t, http.StatusNotFound, plain.get("/identity/users/1").Code, "only on request")
	})
}
