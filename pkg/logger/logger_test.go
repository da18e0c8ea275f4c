package logger

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

func parse(t *testing.T, line string) map[string]any {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
	return fields
}

func TestNew(t *testing.T) {
	t.Parallel()
	t.Run("writes one JSON object per line", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		log, err := New(Options{Format: JSON, Out: &out, Service: "identity-api", Version: "1.2.3"})
		require.NoError(t, err)
		log.Debug().Msg("hidden by the default level")
		log.Info().Str("event_id", "evt_1").Msg("published")

		fields := parse(t, out.String())
		at, err := time.Parse(timeFormat, fields["time"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute)
		delete(fields, "time")
		require.Equal(t, map[string]any{
			"level": "info", "service": "identity-api", "version": "1.2.3", "event_id": "evt_1", "message": "published",
		}, fields)
	})

	t.Run("writes times in UTC with milliseconds", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		log, err := New(Options{Format: JSON, Out: &out})
		require.NoError(t, err)
		saigon := time.FixedZone("ICT", 7*3600)
		log = log.Hook(clock(func() time.Time { return time.Date(2026, 1, 31, 16, 30, 0, 0, saigon) }))
		log.Info().Msg("")
		require.Contains(t, out.String(), `"time":"2026-01-31T09:30:00.000Z"`)
	})

	t.Run("filters by level", func(t *testing.T) {
		t.Parallel()
		for level, want := range map[string][]string{
			"trace": {"trace", "debug", "info", "warn", "error"},
			"":      {"info", "warn", "error"},
			"error": {"error"},
		} {
			var out bytes.Buffer
			log, err := New(Options{Level: level, Format: JSON, Out: &out})
			require.NoError(t, err)
			log.Trace().Send()
			log.Debug().Send()
			log.Info().Send()
			log.Warn().Send()
			log.Error().Send()
			var got []string
			for line := range strings.Lines(out.String()) {
				got = append(got, parse(t, line)["level"].(string))
			}
			require.Equal(t, want, got, "level %q", level)
		}
	})

	t.Run("writes JSON or pretty lines", func(t *testing.T) {
		t.Parallel()
		write := func(format string) string {
			var out bytes.Buffer
			log, err := New(Options{Format: format, Out: &out})
			require.NoError(t, err)
			log.Info().Str("k", "v").Msg("hello")
			return out.String()
		}
		parse(t, write(JSON))
		parse(t, write(Auto))
		parse(t, write(""))
		require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} INF hello k=v\n$`, write(Pretty))
	})

	t.Run("writes JSON to a file when auto", func(t *testing.T) {
		t.Parallel()
		file, err := os.CreateTemp(t.TempDir(), "log")
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		log, err := New(Options{Out: file})
		require.NoError(t, err)
		log.Info().Msg("hello")
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		parse(t, string(text))
	})

	t.Run("refuses unknown options", func(t *testing.T) {
		t.Parallel()
		for _, level := range []string{"loud", "disabled", "5"} {
			_, err := New(Options{Level: level})
			require.ErrorContains(t, err, `unknown level "`+level+`"`)
		}
		_, err := New(Options{Format: "xml"})
		require.ErrorContains(t, err, `unknown format "xml"`)
	})
}

func TestWithTrace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := New(Options{Format: JSON, Out: &out})
	require.NoError(t, err)

	none := WithTrace(t.Context(), log)
	none.Info().Msg("")
	require.NotContains(t, out.String(), "trace_id")

	out.Reset()
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd},
	}))
	traced := WithTrace(ctx, log)
	traced.Info().Msg("")
	fields := parse(t, out.String())
	require.Equal(t, "ab000000000000000000000000000000", fields["trace_id"])
	require.Equal(t, "cd00000000000000", fields["span_id"])
}

func TestMaskEmail(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"abcdef@example.com":             "ab***@example.com",
		"abc@example.com":                "ab***@example.com",
		"ab@example.com":                 "a***@example.com",
		"a@example.com":                  "***@example.com",
		"@example.com":                   "***@example.com",
		"":                               "***",
		"@":                              "***@***",
		"alice":                          "***",
		"alice@":                         "al***@***",
		"alice@bücher.example":           "al***@bücher.example",
		"émile@example.com":              "ém***@example.com",
		`"alice@home"@example.com`:       `"a***@example.com`,
		"alice@a.com, bob@example.com":   "al***@example.com",
		"alice@example.com code 123456":  "al***@***",
		"Alice <alice@example.com>":      "Al***@***",
		"alice@example.com\r\nX: y":      "al***@***",
		"alice@[127.0.0.1]":              "al***@***",
		"\xff\xfe\xfd@example.com":       "\ufffd\ufffd***@example.com",
		"al@" + strings.Repeat("a", 254): "a***@***",
	} {
		require.Equal(t, want, MaskEmail(address), "%q", address)
	}
}

func FuzzMaskEmail(f *testing.F) {
	f.Add("abcdef@example.com")
	f.Fuzz(func(t *testing.T, address string) {
		before, _, found := strings.Cut(MaskEmail(address), stars)
		require.True(t, found)
		require.LessOrEqual(t, len([]rune(before)), 2)
	})
}
