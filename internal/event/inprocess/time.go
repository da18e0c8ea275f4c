package inprocess

import "time"

// Busy returns the queues that have something ready or a handler at work.
func (b *Broker) Busy() (queues []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, q := range b.queues {
		if len(q.ready)+q.running > 0 {
			queues = append(queues, name)
		}
	}
	return queues
}

// NextDue returns when the next message leaves its retry level; ok is false when none waits.
func (b *Broker) NextDue() (due time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		for w := range q.waiting {
			if !ok || w.due.Before(due) {
				due, ok = w.due, true
			}
		}
	}
	return due, ok
}

// Wake makes ready what is due by Options.Now, for a clock that has been moved: the levels' own timers know nothing of
// it.
func (b *Broker) Wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.options.Now()
	for _, q := range b.queues {
		for w := range q.waiting {
			if !w.due.After(now) {
				q.release(w)
			}
		}
	}
}
