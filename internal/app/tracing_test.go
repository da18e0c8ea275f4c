package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/config"
)

func TestSpansGoWhereTheSpecificationPutsThem(t *testing.T) {
	for name, path := range map[string]string{"": "/v1/traces", "/otlp": "/otlp/v1/traces", "/otlp/": "/otlp/v1/traces"} {
		asked := make(chan string, 1)
		collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
		provider, err := newTracing(t.Context(), config.Service{OTLPEndpoint: collector.URL + name}, "api", "test")
		require.NoError(t, err)
		_, span := provider.Tracer("test").Start(t.Context(), "work")
		span.End()
		require.NoError(t, provider.Shutdown(t.Context()), "flushes")
		require.Equal(t, path, <-asked)
		collector.Close()
	}
}

// TestTrace follows one trace from a registration to the mail server's 250 and to what Redis keeps: the browser sends its
// trace with both requests, and every event carries it through the outbox and the broker.
func TestTrace(t *testing.T) {
	p := start(t, t.TempDir())
	exporter := tracetest.NewInMemoryExporter()
	p.tracing.RegisterSpanProcessor(sdktrace.NewSimpleSpanProcessor(exporter))
	const email = "an@example.com"
	browser := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}))
	header := []string{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
		fields{"email": email, "password": "a long enough one"}, header...)
	mails, err := p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	otp := sixDigits.FindString(mails[0].Text)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": otp}, header...)
	var mine struct {
		UserID string `json:"user_id"`
	}
	require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
	p.requireState(t, mine.UserID, "trialing")

	// Each with the span that it is below. A relay and a consumer continue what the request has begun.
	want := map[string]string{
		"POST /authentication/register":        "",
		"publish email.verification.requested": "POST /authentication/register",
		"process identity.email":               "POST /authentication/register",
		"smtp send":                            "process identity.email",
		"POST /authentication/verify-otp":      "",
		"publish subscription.created":         "POST /authentication/verify-otp",
		"process identity.subscription":        "POST /authentication/verify-otp",
		"redis evalsha":                        "process identity.subscription",
	}
	require.Eventually(t, func() bool {
		found := map[string]bool{}
		for _, s := range exporter.GetSpans() {
			found[s.Name] = true
		}
		return !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(name string) bool { return !found[name] })
	}, 20*time.Second, 10*time.Millisecond)
	names := map[trace.SpanID]string{browser.SpanID(): ""}
	spans := exporter.GetSpans().Snapshots()
	for _, s := range spans {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	for _, s := range spans {
		parent, ok := want[s.Name()]
		if ok && s.SpanContext().TraceID() == browser.TraceID() {
			require.Equal(t, parent, names[s.Parent().SpanID()], s.Name())
			require.Equal(t, codes.Unset, s.Status().Code, s.Name())
			delete(want, s.Name())
		}
		for _, a := range s.Attributes() {
			for _, secret := range []string{otp, email, mine.UserID} {
				require.NotContains(t, a.Value.String(), secret, "%s: %s", s.Name(), a.Key)
			}
		}
	}
	require.Empty(t, want, "spans of another trace")
}
