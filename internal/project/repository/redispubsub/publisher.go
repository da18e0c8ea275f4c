package redispubsub

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

const (
	publishEvery = 200 * time.Millisecond // between two messages of one project
	publishRetry = time.Second            // between two attempts while Redis is unavailable
	maxPending   = 10_000                 // projects that wait while Redis is unavailable; more are dropped
	publishChunk = 256                    // projects per pipeline
	flushTimeout = time.Second            // for the last messages at a stop
)

// PublisherOptions configures a [Publisher]. All fields are required.
type PublisherOptions struct {
	Client   *redis.Client // any database
	Channels Channels
	// OnOutage is called with the first error of an outage, and with nil at its end.
	OnOutage func(err error)
}

// Publisher implements [project.ProgressPublisher]. It publishes a project at once, then at most every 200 ms, and of
// the changes in between the latest. Safe for concurrent use.
type Publisher struct {
	send   func(ctx context.Context, updates []update) error
	outage outage
	wake   flag

	mu      sync.Mutex
	pending map[string]update // by project id
}

type update struct {
	owner    string
	progress project.Progress
}

// NewPublisher returns a Publisher that publishes while Run runs.
func NewPublisher(o PublisherOptions) *Publisher {
	return &Publisher{
		send:    sender{o.Client, o.Channels}.send,
		outage:  outage{report: o.OnOutage},
		wake:    newFlag(),
		pending: map[string]update{},
	}
}

var _ project.ProgressPublisher = (*Publisher)(nil)

// Publish implements [project.ProgressPublisher]. A project without an owner has no channel and is ignored.
func (p *Publisher) Publish(owner string, progress project.Progress) {
	if owner == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, ok := p.pending[progress.ProjectID]
	if ok && supersedes(waiting.progress, progress) || !ok && len(p.pending) >= maxPending {
		return
	}
	p.pending[progress.ProjectID] = update{owner, progress}
	p.wake.raise()
}

// supersedes reports whether p is later than q. Concurrent callers do not publish in the order in which they counted,
// and an older change must not be the last one.
func supersedes(p, q project.Progress) bool {
	if p.Status.Final() != q.Status.Final() {
		return p.Status.Final()
	}
	return p.Total == q.Total && p.Done > q.Done
}

// Run publishes until ctx ends, then once more what is pending, and returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			defer cancel()
			_ = p.flush(last) // best effort
			return nil
		case <-p.wake:
		}
		err := p.flush(ctx)
		pause := publishEvery
		if err != nil {
			pause = publishRetry
		}
		if ctx.Err() == nil {
			p.outage.update(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// flush publishes the pending updates. Those that fail stay pending, unless a newer one replaces them.
func (p *Publisher) flush(ctx context.Context) error {
	p.mu.Lock()
	unsent := p.pending
	p.pending = make(map[string]update, len(unsent))
	p.mu.Unlock()
	for chunk := range slices.Chunk(slices.Collect(maps.Values(unsent)), publishChunk) {
		if err := p.send(ctx, chunk); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			maps.Copy(unsent, p.pending)
			p.pending = unsent
			p.wake.raise()
			return err
		}
		for _, sent := range chunk {
			delete(unsent, sent.progress.ProjectID)
		}
	}
	return nil
}
