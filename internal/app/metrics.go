package app

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/smap-platform/identity/internal/authentication/password"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
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
	codesReplaced prometheus.Counter
	handled       *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	deadLetters   *prometheus.CounterVec
	staleAcks     *prometheus.CounterVec

	loginsMixed       prometheus.Counter
	tokensReused      prometheus.Counter
	logoutsFailed     prometheus.Counter
	triesRefused      *prometheus.CounterVec
	clientsUnknown    prometheus.Counter
	projectsCompleted prometheus.Counter
	sweepsFailed      prometheus.Counter
	repairsFailed     prometheus.Counter
	purgesFailed      *prometheus.CounterVec
	usersErased       prometheus.Counter
	mailsErased       *prometheus.CounterVec
	marksMissed       prometheus.Counter

	subscriptionsExpired *prometheus.CounterVec
	subscriptionsPassed  prometheus.Counter
	trialsReminded       *prometheus.CounterVec
}

// latencyBuckets reach from a confirm on a quiet broker to a mail server near its deadline.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics() *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	factory := promauto.With(registry)
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry:        registry,
		published:       counters("events_published_total", "Messages the broker has confirmed.", "routing_key"),
		publishFailures: counters("event_publish_failures_total", "Tries to publish that were not confirmed.", "routing_key", "error_type"),
		publishDuration: factory.NewHistogram(prometheus.HistogramOpts{
			Name: "event_publish_duration_seconds", Help: "From handing a batch to the broker to its confirms.", Buckets: latencyBuckets,
		}),
		mailsProcessed: counter("emails_processed_total", "Mails a server has accepted."),
		mailsFailed:    counter("emails_failed_total", "Tries to send a mail that failed."),
		mailsRepeated:  counter("emails_repeated_total", "Mails sent again without knowing whether the first was accepted (RFC 1047)."),
		codesReplaced: counter("codes_replaced_total",
			"Fresh codes made in place of those that expired before their mail could leave."),
		mailsDropped: counters("emails_dropped_total", "Mails not sent because they were of no use any more.", "state"),
		handled: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "event_handler_duration_seconds", Help: "From delivery to settlement, by what became of the event.", Buckets: latencyBuckets,
		}, []string{"queue", "routing_key", "outcome"}),
		retries:     counters("event_retries_total", "Events moved to a retry queue.", "queue", "routing_key"),
		deadLetters: counters("event_dead_letters_total", "Events moved to a dead queue.", "queue", "reason"),
		staleAcks:   counters("event_stale_acks_total", "Acknowledgements dropped because their connection had gone.", "queue"),

		loginsMixed:       counter("logins_mixed_total", "Requests with valid tokens of different users."),
		tokensReused:      counter("tokens_reused_total", "Expired tokens that came back after a newer one of their session."),
		logoutsFailed:     counter("logouts_failed_total", "Logouts that did not end their session."),
		triesRefused:      counters("account_tries_refused_total", "Passwords and codes refused by a limit of their address.", "limit"),
		clientsUnknown:    counter("http_clients_unknown_total", "Requests of a proxy that does not say for whom it asks."),
		sweepsFailed:      counter("project_sweep_failures_total", "Open projects that the sweeper passed over."),
		repairsFailed:     counter("batch_repair_failures_total", "Batches of invitations that the repairer passed over."),
		purgesFailed:      counters("purge_failures_total", "Purges of expired rows that failed, or passed over some.", "what"),
		usersErased:       counter("users_erased_total", "Deleted users whose data this process has erased everywhere."),
		mailsErased:       counters("mails_erased_total", "Mails that were given up, and dropped because they are older than ERASE_AFTER.", "from"),
		projectsCompleted: counter("projects_completed_total", "Projects whose job.completed this process has handed to the outbox."),
		marksMissed:       counter("project_marks_missed_total", "Items that could not be counted when their work ended; they are counted from the database."),

		subscriptionsExpired: counters("subscriptions_expired_total", "Subscriptions whose end the scheduler has made known.", "from"),
		subscriptionsPassed:  counter("subscription_scheduler_failures_total", "Subscriptions that the scheduler passed over."),
		trialsReminded:       counters("trial_reminders_total", "Reminders of the end of a trial handed to the outbox.", "days"),
	}
	m.initSeries()
	return m
}

// initSeries creates the series that alerts watch: one that appears with its first event shows no increase.
func (m *metrics) initSeries() {
	for _, queue := range []string{EmailQueue, InvitationQueue, SubscriptionQueue, ProjectQueue, LegacyQueue} {
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

// watchHashing shows how close password hashing is to its bound.
func (m *metrics) watchHashing(load func() password.Load) {
	factory := promauto.With(m.registry)
	factory.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashing_running", Help: "Passwords being hashed."},
		func() float64 { return float64(load().Running) })
	factory.NewGaugeFunc(prometheus.GaugeOpts{Name: "password_hashing_waiting", Help: "Requests waiting for a place to hash."},
		func() float64 { return float64(load().Waiting) })
	factory.NewCounterFunc(prometheus.CounterOpts{
		Name: "password_hashing_refused_total", Help: "Requests refused because too many waited for a place to hash.",
	}, func() float64 { return float64(load().Refused) })
}

// watchSealing shows how many rows of the outbox this process cannot open.
func (m *metrics) watchSealing(foreign func() int) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "outbox_sealed_rows", Help: "Rows sealed with another EVENTS_SEAL_KEY than this process has.",
	}, func() float64 { return float64(foreign()) })
}

var usersByState = prometheus.NewDesc("users", "Users by state, counted once in 5 minutes.", []string{"state"}, nil)

// scrapeTimeout bounds what is asked for the sake of a scrape.
const scrapeTimeout = askerTimeout

// gauges is a collector that asks for its values at each scrape.
type gauges struct {
	descs []*prometheus.Desc
	read  func(ctx context.Context, set setGauge)
}

type setGauge = func(desc *prometheus.Desc, value float64, labels ...string)

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range g.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	g.read(ctx, func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	})
}

// countUsersEvery is how long a count of the users is kept: it reads all of them.
const countUsersEvery = 5 * time.Minute

// userGauges counts users. Where that fails the last figures stay.
func (in *infra) userGauges() gauges {
	var mu sync.Mutex
	var counted time.Time
	var counts map[string]int
	users := authsql.NewUsers(in.db)
	return gauges{
		[]*prometheus.Desc{usersByState},
		func(ctx context.Context, set setGauge) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(counted) >= countUsersEvery {
				if fresh, err := users.CountByState(ctx); err == nil {
					counts = fresh
				}
				counted = time.Now() // also of a failure: a table too large to count is not read at every scrape
			}
			for state, n := range counts {
				set(usersByState, float64(n), state)
			}
		},
	}
}
