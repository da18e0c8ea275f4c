package app

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/pkg/logger"
)

// consumeObserver writes one line, one metric and one span per delivery. Nothing of a body reaches any of them.
type consumeObserver struct {
	log     zerolog.Logger
	tracer  trace.Tracer
	metrics *metrics
}

// Begin implements event.Observer: the trace of the request that caused the event goes on here.
func (o *consumeObserver) Begin(ctx context.Context, q event.Queue, d event.Delivery) (context.Context, func(event.Decision, error)) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(d.Headers))
	ctx, span := o.tracer.Start(ctx, "process "+q.Name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "rabbitmq"), attribute.String("messaging.message.id", d.ID),
		attribute.String("messaging.destination.name", q.Name)))
	started := time.Now()
	return ctx, func(decision event.Decision, err error) {
		took := time.Since(started)
		o.count(q, d, decision, took)
		log := logger.WithTrace(ctx, o.log)
		line := log.WithLevel(levelOf(decision)).Str("event_id", d.ID).Str("routing_key", d.RoutingKey).
			Str("queue", q.Name).Str("outcome", decision.Outcome).Int("attempt", d.Attempts()+1).
			Float64("duration_ms", float64(took.Microseconds())/1000)
		if err != nil {
			span.SetStatus(codes.Error, event.ErrorClass(err))
			line = line.Str("error_class", event.ErrorClass(err)).Str("error", err.Error())
		}
		if p, ok := errors.AsType[*event.PanicError](err); ok {
			line = line.Bytes("stack", p.Stack)
		}
		line.Msg("event " + string(decision.Action))
		span.SetAttributes(attribute.String("outcome", decision.Outcome))
		span.End()
	}
}

func (o *consumeObserver) count(q event.Queue, d event.Delivery, decision event.Decision, took time.Duration) {
	key := d.RoutingKey
	switch {
	case q.Name == LegacyQueue:
		key = legacy.Exchange // whose messages carry none
	case decision.Outcome == event.ReasonUnknownKey:
		key = "unknown" // anybody can invent keys; a label must not grow with them
	}
	o.metrics.handled.WithLabelValues(q.Name, key, decision.Outcome).Observe(took.Seconds())
	switch decision.Action {
	case event.Retry:
		o.metrics.retries.WithLabelValues(q.Name, key).Inc()
	case event.Dead:
		o.metrics.deadLetters.WithLabelValues(q.Name, decision.Outcome).Inc()
	}
}

func levelOf(d event.Decision) zerolog.Level {
	switch d.Action {
	case event.Dead:
		return zerolog.ErrorLevel
	case event.Retry:
		return zerolog.WarnLevel
	default:
		return zerolog.InfoLevel
	}
}

// publishObserver writes one line and the metrics of every row the relay handles.
type publishObserver struct {
	log     zerolog.Logger
	metrics *metrics
}

// Published implements outbox.Observer.
func (o *publishObserver) Published(m event.Message, took time.Duration) {
	o.metrics.published.WithLabelValues(keyOf(m)).Inc()
	o.metrics.publishDuration.Observe(took.Seconds())
	log := logger.WithTrace(traceOf(m), o.log)
	log.Info().Str("event_id", m.ID).Str("routing_key", keyOf(m)).
		Float64("duration_ms", float64(took.Microseconds())/1000).Msg("event published")
}

// Failed implements outbox.Observer. An absent broker is logged once by the relay, not once per row.
func (o *publishObserver) Failed(m event.Message, class string, final bool) {
	o.metrics.publishFailures.WithLabelValues(keyOf(m), class).Inc()
	level := zerolog.WarnLevel
	switch {
	case final:
		level = zerolog.ErrorLevel
	case class == "unavailable":
		level = zerolog.DebugLevel
	}
	log := logger.WithTrace(traceOf(m), o.log)
	log.WithLevel(level).Str("event_id", m.ID).Str("routing_key", keyOf(m)).Str("error_type", class).
		Bool("given_up", final).Msg("event not published")
}

// keyOf names what m is about: some exchanges are published to without a key.
func keyOf(m event.Message) string { return cmp.Or(m.RoutingKey, m.Exchange) }

func traceOf(m event.Message) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(m.Headers))
}
