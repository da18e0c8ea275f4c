// Package logger owns the form of the log: one JSON object per line, or coloured text on a terminal, with times in UTC
// to the millisecond. It also owns how personal data and trace ids appear in it ([MaskEmail], [WithTrace]).
//
// It has no global logger and changes none of zerolog's global settings: pass the logger that [New] returns. It does
// not promise to find secrets in what it is given: what must not be logged must not be passed.
package logger

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
)

// Formats of the log.
const (
	Auto   = "auto" // Pretty on a terminal, JSON elsewhere
	JSON   = "json"
	Pretty = "pretty"
)

// timeFormat is RFC 3339 with milliseconds, always the same width.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Options of a logger. Empty fields take the defaults in brackets.
type Options struct {
	Level   string    // [info] trace, debug, info, warn or error
	Format  string    // [auto] see the constants
	Out     io.Writer // [standard output]
	Service string    // in every line, when set
	Version string    // in every line, when set
}

// New returns a logger, or an error that names the option to correct.
func New(o Options) (zerolog.Logger, error) {
	level, err := parseLevel(o.Level)
	if err != nil {
		return zerolog.Nop(), err
	}
	out := cmp.Or[io.Writer](o.Out, os.Stdout)
	switch o.Format {
	case Pretty:
		out = pretty(out)
	case "", Auto:
		if isTerminal(out) {
			out = pretty(out)
		}
	case JSON:
	default:
		return zerolog.Nop(), fmt.Errorf("logger: unknown format %q, use %s, %s or %s", o.Format, Auto, JSON, Pretty)
	}

	fields := zerolog.New(out).Level(level).With()
	if o.Service != "" {
		fields = fields.Str("service", o.Service)
	}
	if o.Version != "" {
		fields = fields.Str("version", o.Version)
	}
	return fields.Logger().Hook(clock(time.Now)), nil
}

// parseLevel is stricter than zerolog.ParseLevel, which also accepts numbers and "disabled".
func parseLevel(name string) (zerolog.Level, error) {
	switch name {
	case "":
		return zerolog.InfoLevel, nil
	case "trace", "debug", "info", "warn", "error":
		return zerolog.ParseLevel(name)
	default:
		return zerolog.NoLevel, fmt.Errorf("logger: unknown level %q, use trace, debug, info, warn or error", name)
	}
}

// clock adds the time to a line. zerolog's own timestamp reads its format and zone from global variables.
type clock func() time.Time

func (now clock) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, now().UTC().Format(timeFormat))
}

func pretty(out io.Writer) io.Writer {
	return zerolog.ConsoleWriter{Out: out, NoColor: !isTerminal(out), TimeFormat: "15:04:05.000", TimeLocation: time.UTC}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// WithTrace returns log with the trace_id and span_id of ctx, or log itself when ctx carries no valid trace.
func WithTrace(ctx context.Context, log zerolog.Logger) zerolog.Logger {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return log
	}
	return log.With().Str("trace_id", span.TraceID().String()).Str("span_id", span.SpanID().String()).Logger()
}
