package redispubsub

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

const (
	// readEvery is the least distance between two reads of one project.
	readEvery = 200 * time.Millisecond
	// readAnyway is when a project is read although no hint has come: one may have been lost.
	readAnyway = 15 * time.Second
	// readAgain is when a project is read again that could not be read.
	readAgain = 5 * time.Second
	// readTimeout bounds one read.
	readTimeout = 2 * time.Second
	// maxReads bounds the reads at a time, so that requests always find a connection free.
	maxReads = 4
)

// Hub implements project.Watcher: it reads each project that is watched when it hears that it has changed, 5 times a
// second at most and once after the last change, whoever many watch it. While Redis is away nothing is told, and
// everything once it is back. Safe for concurrent use.
type Hub struct {
	reader project.Reader
	client *redis.Client
	outage outage
	pause  time.Duration // before the subscription is tried again
	silent time.Duration // after which the subscription's server is asked whether it is there
	reads  chan struct{} // has room for maxReads

	mu     sync.RWMutex
	topics map[string]*topic // by project id
}

// NewHub answers one that hears of changes once Run does. client, which may have selected any database, holds the
// subscription, reader is asked for the progress. tell hears of an outage of the subscription once, and with nil when
// it is over.
func NewHub(client *redis.Client, reader project.Reader, tell func(err error)) *Hub {
	return &Hub{
		reader: reader, client: client, outage: outage{tell: tell}, pause: time.Second, silent: 10 * time.Second,
		reads: make(chan struct{}, maxReads), topics: map[string]*topic{},
	}
}

var _ project.Watcher = (*Hub)(nil)

// topic is a project that is watched.
type topic struct {
	id      string
	watched context.Context // ends with the last watcher
	end     context.CancelFunc
	touched chan struct{} // has room for one: something has changed since the last read began

	mu       sync.Mutex
	watchers map[chan project.Progress]struct{}
}

func (t *topic) touch() {
	select {
	case t.touched <- struct{}{}:
	default:
	}
}

// tell leaves p for every watcher, in the place of what he has not taken yet.
func (t *topic) tell(p project.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watchers {
		select {
		case <-w:
		default:
		}
		w <- p // nobody else puts anything there
	}
}

// Watch implements project.Watcher.
func (h *Hub) Watch(projectID string) (changes <-chan project.Progress, stop func()) {
	w := make(chan project.Progress, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.topics[projectID]
	if !ok {
		t = &topic{id: projectID, touched: make(chan struct{}, 1), watchers: map[chan project.Progress]struct{}{}}
		t.watched, t.end = context.WithCancel(context.Background())
		h.topics[projectID] = t
		go h.follow(t)
	}
	t.mu.Lock()
	t.watchers[w] = struct{}{}
	t.mu.Unlock()
	t.touch()
	return w, func() { h.leave(t, w) }
}

func (h *Hub) leave(t *topic, w chan project.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
	if len(t.watchers) == 0 && h.topics[t.id] == t {
		delete(h.topics, t.id)
		t.end()
	}
}

// touch notes that a project has changed. Most projects are watched by nobody.
func (h *Hub) touch(projectID string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if t, ok := h.topics[projectID]; ok {
		t.touch()
	}
}

func (h *Hub) touchAll() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.topics {
		t.touch()
	}
}

// follow is the goroutine of one topic.
func (h *Hub) follow(t *topic) {
	anyway := time.NewTicker(readAnyway)
	defer anyway.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-t.watched.Done():
			return
		case <-t.touched:
		case <-anyway.C:
		case <-again:
		}
		again = nil
		if !h.read(t) {
			again = time.After(readAgain)
		}
		select {
		case <-t.watched.Done():
			return
		case <-time.After(readEvery):
		}
	}
}

// read tells the watchers how far the project is, and answers false when that could not be learnt.
func (h *Hub) read(t *topic) bool {
	select {
	case h.reads <- struct{}{}:
	case <-t.watched.Done():
		return true
	}
	ctx, cancel := context.WithTimeout(t.watched, readTimeout)
	p, err := h.reader.Progress(ctx, t.id)
	cancel()
	<-h.reads
	if err != nil {
		return false
	}
	t.tell(p)
	return true
}
