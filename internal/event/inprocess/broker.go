package inprocess

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
)

// Options of a Broker; all are needed but Watch.
type Options struct {
	Now func() time.Time
	// DrainTimeout bounds how long Consume goes on once its context has ended; after it the handlers' contexts end.
	DrainTimeout time.Duration
	Log          zerolog.Logger
	// Watch is called for every message that the broker takes, with the names of the queues that hold it from then on,
	// before a handler can have it. It must neither call the broker nor change the message. nil: nobody watches.
	Watch func(m event.Message, queues []string)
}

// Broker holds the messages of a fixed set of queues. Safe for concurrent use.
type Broker struct {
	options Options

	mu      sync.Mutex
	queues  map[string]*queue
	ways    map[string]func(event.Message) // every queue's name, retry levels and dead queues included
	taps    map[*tap]struct{}
	closing bool // Consume has been asked to stop and has not begun again
}

// New returns a broker with these queues, empty, bound to [event.Exchange] by their patterns.
func New(queues []event.Queue, o Options) *Broker {
	b := &Broker{
		options: o,
		queues:  map[string]*queue{},
		ways:    map[string]func(event.Message){},
		taps:    map[*tap]struct{}{},
	}
	for _, q := range queues {
		held := &queue{Queue: q, arrived: sync.NewCond(&b.mu), waiting: map[*waiting]struct{}{}}
		b.queues[q.Name] = held
		maps.Copy(b.ways, held.ways(o.Now))
	}
	return b
}

// Send implements [event.Sender]. It never waits. A mandatory message that no queue takes is [event.ErrUnroutable]; so is
// every message to an exchange other than [event.Exchange] and "" (where RabbitMQ would close the channel). From the
// moment Consume is asked to stop until it begins again, every message is [event.ErrUnavailable].
func (b *Broker) Send(_ context.Context, messages []event.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := make([]error, len(messages))
	for i, m := range messages {
		if b.closing {
			results[i] = event.ErrUnavailable
			continue
		}
		m.Headers = maps.Clone(m.Headers) // the sender keeps its map
		if routed, known := b.route(m); !known || (!routed && m.Mandatory) {
			results[i] = event.ErrUnroutable
		}
	}
	return results
}

// route pushes m into every queue bound to its key. known is false for an exchange that does not exist.
func (b *Broker) route(m event.Message) (routed, known bool) {
	switch m.Exchange {
	case "":
		way, ok := b.ways[m.RoutingKey]
		if ok {
			b.watch(m, m.RoutingKey)
			way(m.Arrived())
		}
		return ok, true
	case event.Exchange:
		b.copyToTaps(m)
		var takers []string
		for name, q := range b.queues {
			if q.bound(m.RoutingKey) {
				q.push(m.Arrived()) // it is handed out once mu is free
				takers = append(takers, name)
			}
		}
		b.watch(m, takers...)
		return len(takers) > 0, true
	default:
		return false, false
	}
}

// DropDead removes the dead letters of queue that drop chooses, of which it is called with each, oldest first.
func (b *Broker) DropDead(queue string, drop func(event.Message) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[queue]; q != nil {
		q.dead = slices.DeleteFunc(q.dead, drop)
	}
}

func (b *Broker) watch(m event.Message, queues ...string) {
	if b.options.Watch != nil {
		slices.Sort(queues)
		b.options.Watch(m, queues)
	}
}

// Dead returns the dead letters of queue, oldest first; nil for a queue that does not exist.
func (b *Broker) Dead(queue string) []event.DeadLetter {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[queue]
	if q == nil {
		return nil
	}
	letters := make([]event.DeadLetter, len(q.dead))
	for i, m := range q.dead {
		letters[i] = m.DeadLetter(queue)
	}
	return letters
}

// Depths returns how full the queues of these names are. One that does not exist is not in it.
func (b *Broker) Depths(names []string) map[string]event.Depth {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string]event.Depth{}
	for _, q := range b.queues {
		all[q.Name] = event.Depth{Ready: len(q.ready), Consumers: q.consumers}
		all[q.DeadQueue()] = event.Depth{Ready: len(q.dead)}
		for w := range q.waiting {
			level := all[w.level]
			level.Ready++
			all[w.level] = level
		}
	}
	found := map[string]event.Depth{}
	for _, name := range names {
		if _, known := b.ways[name]; known {
			found[name] = all[name]
		}
	}
	return found
}
