package operations

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/status"
)

const (
	// SampleEvery is the time between two samples.
	SampleEvery = 5 * time.Second
	// Window is how far back samples reach.
	Window = 15 * time.Minute
	// kept bounds the samples: one more than intervals.
	kept = int(Window/SampleEvery) + 1
)

// Counters are what this process has done since its start.
type Counters struct {
	Published float64 // events confirmed by the broker
	Consumed  float64 // deliveries settled
	Mails     float64 // accepted by the mail server
}

// Sample is how the service was at one moment, and what this process had done by then. What is nil was unknown.
type Sample struct {
	At       time.Time
	Facts    status.Facts
	Counters Counters
}

// History keeps the samples of the last [Window] in memory: they are this process's own, and end with it.
type History struct {
	facts    func(ctx context.Context) status.Facts
	counters func() Counters
	now      func() time.Time

	mu      sync.Mutex
	samples []Sample // the oldest first
}

// NewHistory returns a History without samples.
func NewHistory(
	facts func(ctx context.Context) status.Facts, counters func() Counters, now func() time.Time,
) *History {
	return &History{facts: facts, counters: counters, now: now, samples: make([]Sample, 0, kept)}
}

// Take takes a sample.
func (h *History) Take(ctx context.Context) {
	s := Sample{At: h.now(), Facts: h.facts(ctx), Counters: h.counters()}
	s.Facts.Troubles, s.Facts.Unknown = nil, nil // texts, which no chart shows
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == kept {
		h.samples = slices.Delete(h.samples, 0, 1)
	}
	h.samples = append(h.samples, s)
}

// Samples returns those of the last [Window], the oldest first.
func (h *History) Samples() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := h.now().Add(-Window)
	return slices.DeleteFunc(slices.Clone(h.samples), func(s Sample) bool { return s.At.Before(since) })
}
