package tracing_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/pkg/tracing"
)

func TestBegin(t *testing.T) {
	t.Parallel()
	t.Run("begins a span below the one that is there, and quotes no error", func(t *testing.T) {
		t.Parallel()
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		ctx, parent := provider.Tracer("test").Start(t.Context(), "parent")
		inner, end := tracing.Begin(ctx, "child", trace.SpanKindClient, attribute.String("k", "v"))
		require.NotEqual(t, parent.SpanContext().SpanID(), trace.SpanContextFromContext(inner).SpanID())
		end(errors.New("an@example.com is refused"))
		spans := exporter.GetSpans()
		require.Len(t, spans, 1)
		require.Equal(t, parent.SpanContext().SpanID(), spans[0].Parent.SpanID())
		require.Equal(t, sdktrace.Status{Code: codes.Error}, spans[0].Status)
		require.Empty(t, spans[0].Events)
	})
	t.Run("begins none where there is none", func(t *testing.T) {
		t.Parallel()
		remote := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
		}))
		for _, ctx := range []context.Context{t.Context(), remote} {
			inner, end := tracing.Begin(ctx, "child", trace.SpanKindClient)
			require.Equal(t, ctx, inner)
			end(nil)
		}
	})
}
