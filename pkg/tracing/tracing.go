// Package tracing adds spans below those that a caller has begun.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/smap-platform/identity"

// Begin begins a span below the one in ctx, by the provider of that. Where ctx has none that is recorded it begins none. The
// caller calls end with what has become of the work. Of an error only that there was one is recorded: its text may quote
// what it was about.
func Begin(
	ctx context.Context, name string, kind trace.SpanKind, attributes ...attribute.KeyValue,
) (inner context.Context, end func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	inner, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return inner, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
