package legacy

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
)

// Metrics are those of the migration.
type Metrics struct {
	published prometheus.Counter
	refused   prometheus.Gauge
	shadows   *prometheus.CounterVec
	phase     prometheus.Gauge
}

// NewMetrics returns the metrics of a process in phase. The series that alerts watch begin at once: one that appears
// with its first event has no increase to see.
func NewMetrics(phase Phase) *Metrics {
	m := &Metrics{
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "events_legacy_published_total",
			Help: "Mails published to the previous release's fanout, which is on its way out.",
		}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "legacy_queue_refused", Help: "1 while the broker refuses this process the previous release's queue.",
		}),
		shadows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mail_shadows_total", Help: "Mails of the previous release's path compared with ours, once per event.",
		}, []string{"result"}),
		phase: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "events_migration_phase", Help: "1, labelled with EVENTS_MIGRATION_PHASE of this process.",
			ConstLabels: prometheus.Labels{"phase": string(phase)},
		}),
	}
	m.phase.Set(1)
	m.shadows.WithLabelValues("match")
	m.shadows.WithLabelValues("mismatch")
	return m
}

// Register adds all of them to r.
func (m *Metrics) Register(r prometheus.Registerer) {
	r.MustRegister(m.published, m.refused, m.shadows, m.phase)
}

// Refused is a ReaderDeps.Refused.
func (m *Metrics) Refused(refused bool) {
	m.refused.Set(0)
	if refused {
		m.refused.Set(1)
	}
}

// Compared is a ShadowDeps.Compared.
func (m *Metrics) Compared(match bool) {
	result := "mismatch"
	if match {
		result = "match"
	}
	m.shadows.WithLabelValues(result).Inc()
}

// Observe returns an observer of legacy copies that counts the published ones, warns of the first, and tells next.
func (m *Metrics) Observe(next outbox.Observer, log zerolog.Logger) outbox.Observer {
	return &publishObserver{Observer: next, metrics: m, log: log}
}

type publishObserver struct {
	outbox.Observer
	metrics *Metrics
	log     zerolog.Logger
	warned  sync.Once
}

// Published implements outbox.Observer.
func (o *publishObserver) Published(m event.Message, took time.Duration) {
	o.metrics.published.Inc()
	o.warned.Do(func() {
		o.log.Warn().Str("exchange", m.Exchange).
			Msg("publishing to the previous release's exchange, which is on its way out; see docs/migration-guide.md")
	})
	o.Observer.Published(m, took)
}
