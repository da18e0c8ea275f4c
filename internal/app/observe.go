package app

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/subscription"
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
		key = "unknown" // anyone can invent keys; a label must not grow with them
	}
	o.metrics.handled.WithLabelValues(q.Name, key, decision.Outcome).Observe(took.Seconds())
	switch decision.Action {
	case event.Retry:
		o.metrics.retries.WithLabelValues(q.Name, key).Inc()
	case event.Dead:
		o.metrics.deadLetters.WithLabelValues(q.Name, decision.Outcome).Inc()
	}
}

// levelOf returns the level of a delivery's line. A lane that pauses has its own: it holds many messages back.
func levelOf(decision event.Decision) zerolog.Level {
	if decision.Outcome == event.Paused {
		return zerolog.DebugLevel
	}
	return levels[decision.Action]
}

var levels = map[event.Action]zerolog.Level{
	event.Ack:     zerolog.InfoLevel,
	event.Requeue: zerolog.InfoLevel,
	event.Retry:   zerolog.WarnLevel,
	event.Dead:    zerolog.ErrorLevel,
}

// laneChanged logs that a lane pauses or opens.
func (in *infra) laneChanged(s event.LaneState) {
	log := in.log.With().Str("queue", s.Queue).Logger()
	if s.Paused {
		log.Warn().Str("error_class", s.Class).Time("next_probe", s.Next).
			Msg("mail is paused: the mail server cannot be reached or refuses us; check SMTP_HOST, SMTP_PORT, SMTP_TLS and the " +
				"account there; messages wait in the queue and leave once the server accepts one")
		return
	}
	log.Info().Dur("paused_ms", s.Lasted).Msg("mail is sent again")
}

// loginsMixed logs and counts a request with the logins of two users: people see another's account, or their own after
// they have logged in as another.
func (in *infra) loginsMixed(ctx context.Context, userID, other string) {
	in.metrics.loginsMixed.Inc()
	log := logger.WithTrace(ctx, in.log)
	log.Warn().Str("user_id", userID).Str("other_user_id", other).
		Msg("a request has valid tokens of two users and counts as the first; the next /authentication/me or login removes the " +
			"cookie without a domain")
}

// tokenReused logs and counts a token that came back although its browser had a newer one: there is a copy of it.
func (in *infra) tokenReused(ctx context.Context, s authentication.Session) {
	in.metrics.tokensReused.Inc()
	log := logger.WithTrace(ctx, in.log)
	log.Warn().Str("user_id", s.UserID).Str("session_id", s.ID).
		Msg("an expired token was refused because its session has shown a newer one: a cookie may have been copied; the user " +
			"can end the session with DELETE /authentication/sessions")
}

// logoutFailed logs and counts a logout whose session goes on. Its browser has no cookie any more.
func (in *infra) logoutFailed(ctx context.Context, err error) {
	in.metrics.logoutsFailed.Inc()
	log := logger.WithTrace(ctx, in.log)
	log.Warn().Err(err).Msg("a session could not be ended at its logout; it ends by itself: look at the database's health")
}

// clientUnknown counts a request whose client no proxy names, and says so once.
func (in *infra) clientUnknown() {
	in.metrics.clientsUnknown.Inc()
	in.unknownClient.Do(func() {
		in.log.Warn().Msg("a proxy does not say for whom it asks, so its clients have no limits of their own; " +
			"have it send X-Forwarded-For")
	})
}

// tryRefused logs and counts a try that a limit of its address has refused. The address is in neither.
func (in *infra) tryRefused(ctx context.Context, kind authentication.LimitKind) {
	in.metrics.triesRefused.WithLabelValues(string(kind)).Inc()
	log := logger.WithTrace(ctx, in.log)
	log.Warn().Str("limit", string(kind)).
		Msg("an address has reached a limit from this client's network; other networks have their own")
}

// publishObserver writes one line, the metrics and one span of every row the relay handles.
type publishObserver struct {
	log     zerolog.Logger
	tracer  trace.Tracer
	metrics *metrics
}

// Published implements outbox.Observer.
func (o *publishObserver) Published(m event.Message, took time.Duration) {
	o.metrics.published.WithLabelValues(keyOf(m)).Inc()
	o.metrics.publishDuration.Observe(took.Seconds())
	ctx := traceOf(m)
	now := time.Now()
	_, span := o.tracer.Start(ctx, "publish "+keyOf(m), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithTimestamp(now.Add(-took)), trace.WithAttributes(
			attribute.String("messaging.system", "rabbitmq"), attribute.String("messaging.message.id", m.ID),
			attribute.String("messaging.destination.name", m.Exchange)))
	span.End(trace.WithTimestamp(now))
	log := logger.WithTrace(ctx, o.log)
	log.Info().Str("event_id", m.ID).Str("routing_key", keyOf(m)).
		Float64("duration_ms", float64(took.Microseconds())/1000).Msg("event published")
}

// Failed implements outbox.Observer. A broker that is unavailable is logged once by the relay, not once per row.
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

// keyOf returns the label of m: some exchanges are published to without a routing key.
func keyOf(m event.Message) string { return cmp.Or(m.RoutingKey, m.Exchange) }

func traceOf(m event.Message) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier(m.Headers))
}

// mailObserver logs the mails that a server has accepted, and counts what happens to all.
type mailObserver struct {
	log     zerolog.Logger
	metrics *metrics
}

// MailAccepted implements notification.Observer.
func (o *mailObserver) MailAccepted(ctx context.Context, eventID, recipient string) {
	o.metrics.mailsProcessed.Inc()
	log := logger.WithTrace(ctx, o.log)
	log.Info().Str("event_id", eventID).Str("to", logger.MaskEmail(recipient)).Msg("mail accepted by the server")
}

// MailFailed implements notification.Observer.
func (o *mailObserver) MailFailed(string) { o.metrics.mailsFailed.Inc() }

// MailRepeated implements notification.Observer.
func (o *mailObserver) MailRepeated() { o.metrics.mailsRepeated.Inc() }

// MailDropped implements notification.Observer.
func (o *mailObserver) MailDropped(state notification.State) {
	o.metrics.mailsDropped.WithLabelValues(string(state)).Inc()
}

// projectObserver logs and counts what no caller is told.
type projectObserver struct {
	log     zerolog.Logger
	metrics *metrics
}

// Completed implements project.Observer.
func (o *projectObserver) Completed(c project.Completion) {
	o.metrics.projectsCompleted.Inc()
	o.log.Info().Str("project_id", c.ProjectID).Int64("total", c.Total).Int64("done", c.Done).Int64("errors", c.Errors).
		Msg("project completed")
}

// SignalFailed implements project.Observer.
func (o *projectObserver) SignalFailed(projectID string, err error) {
	o.log.Warn().Err(err).Str("project_id", projectID).Msg("job.completed was not handed over yet; the sweeper will")
}

// SweepFailed implements project.Observer.
func (o *projectObserver) SweepFailed(projectID string, again bool, err error) {
	o.metrics.sweepsFailed.Inc()
	level := zerolog.WarnLevel
	if again {
		level = zerolog.DebugLevel
	}
	o.log.WithLevel(level).Err(err).Str("project_id", projectID).
		Msg("an open project could not be completed and is passed over; retried every few seconds")
}

// SweepHealth implements project.Observer.
func (o *projectObserver) SweepHealth(err error) {
	if err != nil {
		o.log.Warn().Err(err).Msg("open projects cannot be looked at; tried again every few seconds")
		return
	}
	o.log.Info().Msg("open projects are looked at again")
}

// schedulerObserver logs and counts what the scheduler does.
type schedulerObserver struct {
	log     zerolog.Logger
	metrics *metrics
}

// Expired implements subscription.SchedulerObserver.
func (o *schedulerObserver) Expired(from subscription.Status) {
	o.metrics.subscriptionsExpired.WithLabelValues(string(from)).Inc()
}

// Reminded implements subscription.SchedulerObserver.
func (o *schedulerObserver) Reminded(days int) {
	o.metrics.trialsReminded.WithLabelValues(strconv.Itoa(days)).Inc()
}

// PassedOver implements subscription.SchedulerObserver.
func (o *schedulerObserver) PassedOver(id string, again bool, err error) {
	o.metrics.subscriptionsPassed.Inc()
	level := zerolog.WarnLevel
	if again {
		level = zerolog.DebugLevel
	}
	o.log.WithLevel(level).Err(err).Str("subscription_id", id).
		Msg("a subscription cannot be expired, or its user reminded, and is passed over; retried within an hour")
}

// SchedulerHealth implements subscription.SchedulerObserver.
func (o *schedulerObserver) SchedulerHealth(err error) {
	if err != nil {
		o.log.Warn().Err(err).Msg("subscriptions are not expired; tried again every few seconds")
		return
	}
	o.log.Info().Msg("subscriptions are expired again")
}

// codeReplaced reports that a fresh code was made in place of the one that eventID was to deliver.
func (in *infra) codeReplaced(ctx context.Context, eventID string) {
	in.metrics.codesReplaced.Inc()
	log := logger.WithTrace(ctx, in.log)
	log.Warn().Str("event_id", eventID).Msg("a code expired before its mail could leave; a fresh one was requested")
}

// itemMissed reports that a delivery's item was not counted when its work ended.
func (in *infra) itemMissed(d event.Delivery, projectID string, err error) {
	in.metrics.marksMissed.Inc()
	in.log.Debug().Err(err).Str("event_id", d.ID).Str("project_id", projectID).
		Msg("an item was not counted; it will be from the database")
}

// logOutage returns a function that logs the beginning of an outage of Redis, and with nil its end.
func (in *infra) logOutage(effect string) func(error) {
	return func(err error) {
		if err != nil {
			in.log.Warn().Err(err).Str("effect", effect).Msg("redis is unavailable")
			return
		}
		in.log.Info().Str("effect", effect).Msg("redis has recovered")
	}
}

func (in *infra) logRepairFailure(batchID string, again bool, err error) {
	level := zerolog.WarnLevel
	if again {
		level = zerolog.DebugLevel
	}
	if batchID == "" {
		in.log.WithLevel(level).Err(err).Msg("batches could not be compared with their progress; retried every few seconds")
		return
	}
	in.metrics.repairsFailed.Inc()
	in.log.WithLevel(level).Err(err).Str("project_id", batchID).
		Msg("a batch cannot be counted and is passed over; retried every few seconds")
}
