package app

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/event"
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

func TestLaneChanged(t *testing.T) {
	t.Parallel()
	t.Run("says once what is paused and why, and for how long it was", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		in := &infra{log: zerolog.New(&out), metrics: newMetrics()}
		read := func() (line map[string]any) {
			require.NoError(t, json.Unmarshal(out.Bytes(), &line))
			out.Reset()
			return line
		}
		in.laneChanged(event.LaneState{Queue: EmailQueue, Paused: true, Class: "smtp_connect"})
		line := read()
		require.Equal(t, "warn", line["level"])
		require.Equal(t, EmailQueue, line["queue"])
		require.Equal(t, "smtp_connect", line["error_class"])
		require.Contains(t, line["message"], "SMTP_HOST")

		in.laneChanged(event.LaneState{Queue: EmailQueue, Lasted: 90 * time.Second})
		line = read()
		require.Equal(t, "info", line["level"])
		require.EqualValues(t, 90_000, line["paused_ms"])
	})
}
