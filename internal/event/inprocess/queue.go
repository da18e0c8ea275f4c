package inprocess

import (
	"slices"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// queue is one event.Queue with its retry levels and its dead queue. All fields are guarded by the broker's mutex.
type queue struct {
	event.Queue
	arrived *sync.Cond // signals every message that becomes ready, and the beginning of a stop
	ready   []event.Delivery
	running int // handlers at work

	consumers int // of Consume
	waiting   map[*waiting]struct{}
	dead      []event.Message
}

// waiting is a message in a retry level.
type waiting struct {
	level   string
	message event.Message
	due     time.Time
	timer   *time.Timer
}

// bound reports whether the topic exchange routes key to q. Two patterns that match still mean one copy.
func (q *queue) bound(key string) bool {
	return slices.ContainsFunc(q.Bindings, func(pattern string) bool { return matches(pattern, key) })
}

// push makes a message ready.
func (q *queue) push(m event.Message) {
	q.ready = append(q.ready, event.Delivery{Message: m})
	q.arrived.Signal()
}

// giveBack makes a delivery ready again, ahead of the others.
func (q *queue) giveBack(d event.Delivery) {
	d.HandedOut++
	q.ready = slices.Insert(q.ready, 0, d)
	q.arrived.Signal()
}

// wait makes a message ready after the delay of level, which began at now.
func (q *queue) wait(level string, m event.Message, delay time.Duration, now time.Time) {
	w := &waiting{level: level, message: m, due: now.Add(delay)}
	q.waiting[w] = struct{}{}
	w.timer = time.AfterFunc(delay, func() {
		q.arrived.L.Lock()
		defer q.arrived.L.Unlock()
		q.release(w)
	})
}

// release makes a waiting message ready, unless it has been.
func (q *queue) release(w *waiting) {
	if _, ok := q.waiting[w]; !ok {
		return
	}
	w.timer.Stop()
	delete(q.waiting, w)
	q.push(w.message)
}

// ways names every queue that stands behind q, as the default exchange knows them.
func (q *queue) ways(now func() time.Time) map[string]func(event.Message) {
	ways := map[string]func(event.Message){
		q.Name:        q.push,
		q.DeadQueue(): func(m event.Message) { q.dead = append(q.dead, m) },
	}
	for i, delay := range q.Retry.Levels {
		level := q.RetryQueue(i)
		ways[level] = func(m event.Message) { q.wait(level, m, delay, now()) }
	}
	return ways
}
