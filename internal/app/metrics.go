package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/pkg/database"
)

// metrics are the process's own. Their names and labels are what dashboards and alerts are written against.
type metrics struct {
	registry *prometheus.Registry

	published       *prometheus.CounterVec
	publishFailures *prometheus.CounterVec
	publishDuration prometheus.Histogram
	mailsProcessed  prometheus.Counter
	mailsFailed     prometheus.Counter

	mailsRepeated prometheus.Counter
	mailsDropped  *prometheus.CounterVec
	handled       *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	deadLetters   *prometheus.CounterVec
	staleAcks     *prometheus.CounterVec

	projectsCompleted prometheus.Counter
	marksMissed       prometheus.Counter
}

// latencyBuckets reach from a confirm on a quiet broker to a mail server near its deadline.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry:        prometheus.NewRegistry(),
		published:       counters("events_published_total", "Messages the broker has confirmed.", "routing_key"),
		publishFailures: counters("event_publish_failures_total", "Tries to publish that were not confirmed.", "routing_key", "error_type"),
		publishDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "event_publish_duration_seconds", Help: "From handing a batch to the broker to its confirms.", Buckets: latencyBuckets,
		}),
		mailsProcessed: counter("emails_processed_total", "Mails a server has accepted."),
		mailsFailed:    counter("emails_failed_total", "Tries to send a mail that failed."),
		mailsRepeated:  counter("emails_repeated_total", "Mails sent again without knowing whether the first was accepted (RFC 1047)."),
		mailsDropped:   counters("emails_dropped_total", "Mails not sent because they were of no use any more.", "state"),
		handled: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "event_handler_duration_seconds", Help: "From delivery to settlement, by what became of the event.", Buckets: latencyBuckets,
		}, []string{"queue", "routing_key", "outcome"}),
		retries:     counters("event_retries_total", "Events moved to a retry queue.", "queue", "routing_key"),
		deadLetters: counters("event_dead_letters_total", "Events moved to a dead queue.", "queue", "reason"),
		staleAcks:   counters("event_stale_acks_total", "Acknowledgements dropped because their connection had gone.", "queue"),

		projectsCompleted: counter("projects_completed_total", "Projects whose job.completed this process has handed to the outbox."),
		marksMissed:       counter("project_marks_missed_total", "Items that could not be counted when their work ended; they are counted from the database."),
	}
	m.initSeries()
	m.registry.MustRegister(m.published, m.publishFailures, m.publishDuration, m.mailsProcessed, m.mailsFailed,
		m.mailsRepeated, m.mailsDropped, m.handled, m.retries, m.deadLetters, m.staleAcks,
		m.projectsCompleted, m.marksMissed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// initSeries creates the series that alerts watch: one that appears with its first event shows no increase.
func (m *metrics) initSeries() {
	for _, queue := range []string{EmailQueue, SubscriptionQueue, ProjectQueue, LegacyQueue} {
		for _, reason := range []string{
			event.ReasonUnreadable, event.ReasonInvalid, event.ReasonUnknownKey, event.ReasonRejected, event.ReasonAmbiguous,
			event.ReasonExhausted, event.ReasonCrashLoop,
		} {
			m.deadLetters.WithLabelValues(queue, reason)
		}
		m.staleAcks.WithLabelValues(queue)
	}
	m.mailsDropped.WithLabelValues(string(notification.StateExpired))
	m.mailsDropped.WithLabelValues(string(notification.StateSuperseded))
}

// MailAccepted, MailFailed, MailRepeated and MailDropped implement notification.Observer.
func (m *metrics) MailAccepted()     { m.mailsProcessed.Inc() }
func (m *metrics) MailFailed(string) { m.mailsFailed.Inc() }
func (m *metrics) MailRepeated()     { m.mailsRepeated.Inc() }
func (m *metrics) MailDropped(state notification.State) {
	m.mailsDropped.WithLabelValues(string(state)).Inc()
}

// outboxCollector reads the outbox when it is scraped: every process reports the same, whichever relay does the work.
type outboxCollector struct {
	db    *database.DB
	clock *database.Clock
}

var (
	outboxRows   = prometheus.NewDesc("outbox_rows", "Rows waiting in the outbox, due or not.", nil, nil)
	outboxFailed = prometheus.NewDesc("outbox_failed_rows", "Rows given up; `consumer outbox retry` makes them due again.", nil, nil)
	outboxAge    = prometheus.NewDesc("outbox_oldest_due_seconds", "How long the oldest due row has been due; 0 when none is.", nil, nil)
	outboxUp     = prometheus.NewDesc("outbox_up", "1 when the outbox could be read at this scrape.", nil, nil)
)

func (c *outboxCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- outboxRows
	ch <- outboxFailed
	ch <- outboxAge
	ch <- outboxUp
}

func (c *outboxCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	depth, err := outboxDepth(ctx, c.db, c.clock.Now())
	if err != nil {
		ch <- prometheus.MustNewConstMetric(outboxUp, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(outboxUp, prometheus.GaugeValue, 1)
	ch <- prometheus.MustNewConstMetric(outboxRows, prometheus.GaugeValue, float64(depth.Rows))
	ch <- prometheus.MustNewConstMetric(outboxFailed, prometheus.GaugeValue, float64(depth.Failed))
	ch <- prometheus.MustNewConstMetric(outboxAge, prometheus.GaugeValue, depth.OldestDue.Seconds())
}

// watchHashing shows how close password hashing is to its bound.
func (m *metrics) watchHashing(load func() (running, waiting int)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashing_running", Help: "Passwords being hashed."},
			func() float64 { running, _ := load(); return float64(running) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashing_waiting", Help: "Requests waiting for a place to hash."},
			func() float64 { _, waiting := load(); return float64(waiting) }))
}

// deadLetterCollector asks the broker at each scrape how many messages each dead queue holds: the broker moves some there
// by itself. While it does not respond there is no figure.
type deadLetterCollector struct {
	broker broker
	queues []event.Queue
}

var deadLetterDepth = prometheus.NewDesc("dead_letters", "Messages in the dead queue of a queue.", []string{"queue"}, nil)

func (c *deadLetterCollector) Describe(ch chan<- *prometheus.Desc) { ch <- deadLetterDepth }

func (c *deadLetterCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	for _, q := range c.queues {
		if n, err := c.broker.DeadLetters(ctx, q); err == nil {
			ch <- prometheus.MustNewConstMetric(deadLetterDepth, prometheus.GaugeValue, float64(n), q.Name)
		}
	}
}
