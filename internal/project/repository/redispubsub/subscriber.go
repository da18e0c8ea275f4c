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
	readEvery   = 200 * time.Millisecond // at least, between two reads of one project
	readAnyway  = 15 * time.Second       // between reads without a hint, which may have been lost
	readRetry   = 5 * time.Second        // after a read that failed
	readTimeout = 2 * time.Second        // of one read
	maxReads    = 4                      // at a time, so that requests find a free connection

	waveSize  = 8 // watchers that are woken at once, unless there would be more waves than maxWaves
	maxWaves  = 96
	wavePause = 2 * time.Millisecond
)

// Reader reads the progress of a project.
type Reader interface {
	Progress(ctx context.Context, projectID string) (p project.Progress, owner string, err error)
}

// SubscriberOptions configures a [Subscriber]. All fields are required.
type SubscriberOptions struct {
	Client *redis.Client // of the subscription; any database
	Reader Reader
	// OnOutage is called with the first error of an outage of the subscription, and with nil at its end.
	OnOutage func(err error)
}

// Subscriber implements [project.ProgressWatcher]. It reads a watched project after a hint that the project changed, at
// most 5 times a second and once after the last hint, for any number of watchers. While Redis is unavailable watchers
// receive nothing; afterwards they receive the latest progress. Safe for concurrent use.
type Subscriber struct {
	reader    Reader
	client    *redis.Client
	outage    outage
	pause     time.Duration // before the next attempt to subscribe
	pingAfter time.Duration // of silence
	reads     chan struct{} // a semaphore of maxReads

	mu     sync.RWMutex
	topics map[string]*topic // by project id
}

// NewSubscriber returns a Subscriber that receives hints while Run runs.
func NewSubscriber(o SubscriberOptions) *Subscriber {
	return &Subscriber{
		reader:    o.Reader,
		client:    o.Client,
		outage:    outage{report: o.OnOutage},
		pause:     time.Second,
		pingAfter: 10 * time.Second,
		reads:     make(chan struct{}, maxReads),
		topics:    map[string]*topic{},
	}
}

var _ project.ProgressWatcher = (*Subscriber)(nil)

// topic is a watched project.
type topic struct {
	id      string
	ctx     context.Context // ends with the last watcher
	end     context.CancelFunc
	changed flag // since the last read began

	mu       sync.Mutex
	watchers map[chan project.Progress]struct{}
}

// deliver gives p to every watcher, in place of an older progress that the watcher has not received yet. It does so in
// waves, which end before the next read: woken all at once, a thousand streams would keep requests waiting until the last
// has written.
func (t *topic) deliver(p project.Progress) {
	t.mu.Lock()
	watchers := slices.Collect(maps.Keys(t.watchers))
	t.mu.Unlock()
	size := max(waveSize, (len(watchers)+maxWaves-1)/maxWaves)
	for wave := range slices.Chunk(watchers, size) {
		for _, w := range wave {
			select {
			case <-w:
			default:
			}
			w <- p // has room: this is the only sender. One that has stopped meanwhile does not look
		}
		if len(wave) == size && len(watchers) > size {
			select {
			case <-time.After(wavePause):
			case <-t.ctx.Done():
				return
			}
		}
	}
}

// Watch implements [project.ProgressWatcher].
func (s *Subscriber) Watch(projectID string) (changes <-chan project.Progress, stop func()) {
	w := make(chan project.Progress, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.topics[projectID]
	if !ok {
		t = &topic{
			id:       projectID,
			changed:  newFlag(),
			watchers: map[chan project.Progress]struct{}{},
		}
		t.ctx, t.end = context.WithCancel(context.Background())
		s.topics[projectID] = t
		go s.poll(t)
	}
	t.mu.Lock()
	t.watchers[w] = struct{}{}
	t.mu.Unlock()
	t.changed.raise()
	return w, func() { s.unwatch(t, w) }
}

func (s *Subscriber) unwatch(t *topic, w chan project.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
	if len(t.watchers) == 0 && s.topics[t.id] == t {
		delete(s.topics, t.id)
		t.end()
	}
}

// hint notes that a project changed. Most projects are not watched.
func (s *Subscriber) hint(projectID string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t, ok := s.topics[projectID]; ok {
		t.changed.raise()
	}
}

func (s *Subscriber) hintAll() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.topics {
		t.changed.raise()
	}
}

// poll is the goroutine of one topic.
func (s *Subscriber) poll(t *topic) {
	wait := readAnyway
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.changed:
		case <-time.After(wait):
		}
		wait = readAnyway - readEvery
		if err := s.read(t); err != nil {
			wait = readRetry - readEvery
		}
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(readEvery):
		}
	}
}

// read delivers the current progress to the watchers.
func (s *Subscriber) read(t *topic) error {
	select {
	case s.reads <- struct{}{}:
	case <-t.ctx.Done():
		return nil
	}
	ctx, cancel := context.WithTimeout(t.ctx, readTimeout)
	p, _, err := s.reader.Progress(ctx, t.id)
	cancel()
	<-s.reads
	if err == nil {
		t.deliver(p)
	}
	return err
}
