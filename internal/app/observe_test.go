package app

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

func TestMailObserver(t *testing.T) {
	t.Parallel()
	t.Run("logs an accepted mail with its trace and without its address", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		o := &mailObserver{zerolog.New(&out), newMetrics()}
		span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
		o.MailAccepted(trace.ContextWithSpanContext(t.Context(), span), "evt_1", "abcdef@example.com")
		var line map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &line))
		require.Equal(t, map[string]any{
			"level":    "info",
			"message":  "mail accepted by the server",
			"event_id": "evt_1",
			"to":       "ab***@example.com",
			"trace_id": span.TraceID().String(),
			"span_id":  span.SpanID().String(),
		}, line)
	})
}
