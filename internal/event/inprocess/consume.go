package inprocess

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// Consume runs the handlers of consumers, Queue.Workers at a time for each, until ctx ends. Then it goes on with what is
// ready until nothing is left or DrainTimeout is over, ends the context of the handlers still running, waits for them,
// and returns nil. One call at a time; a later call is the next consumer of what was left.
func (b *Broker) Consume(ctx context.Context, consumers []event.Consumer) error {
	for _, c := range consumers {
		if b.queues[c.Queue.Name] == nil {
			return fmt.Errorf("inprocess: there is no queue %q; pass it to New", c.Queue.Name)
		}
	}
	b.setClosing(false)
	b.attend(consumers, 1)
	defer b.attend(consumers, -1)
	handlers, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var running sync.WaitGroup
	for _, c := range consumers {
		for range c.Queue.Workers {
			running.Go(func() {
				for b.handleNext(ctx, handlers, b.queues[c.Queue.Name], c) {
				}
			})
		}
	}
	<-ctx.Done()
	b.setClosing(true)
	deadline := time.AfterFunc(b.options.DrainTimeout, cut)
	defer deadline.Stop()
	running.Wait()
	b.reportLoss()
	return nil
}

// attend adds n to the consumers of each queue.
func (b *Broker) attend(consumers []event.Consumer, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range consumers {
		b.queues[c.Queue.Name].consumers += n * c.Queue.Workers
	}
}

// next waits for a ready message. It returns none once handlers has ended, and once the broker is closing and nothing is
// left to do. While the lane is paused it returns what is ready to a probe only, and waits for nothing.
func (b *Broker) next(handlers context.Context, q *queue, lane *event.Lane, probe bool) (d event.Delivery, found, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		paused := !probe && lane.IsPaused()
		switch {
		case handlers.Err() != nil, b.closing && (paused || len(q.ready) == 0):
			return event.Delivery{}, false, false
		case paused, probe && len(q.ready) == 0:
			return event.Delivery{}, false, true
		case len(q.ready) > 0:
			d := q.ready[0]
			q.ready[0] = event.Delivery{} // release the body
			q.ready = q.ready[1:]
			q.running++
			if len(q.ready) > 0 {
				q.arrived.Signal() // a pause uses up signals: others may be asleep although there is work
			}
			return d, true, true
		}
		q.arrived.Wait()
	}
}

// handleNext does the work of the next delivery, if there is one, and reports whether to go on.
func (b *Broker) handleNext(stop, handlers context.Context, q *queue, c event.Consumer) bool {
	probe := c.Lane.Await(stop)
	d, found, more := b.next(handlers, q, c.Lane, probe)
	if !found {
		if probe {
			c.Lane.Missed()
		}
		return more
	}
	ctx, finish := c.Observer.Begin(handlers, c.Queue, d)
	err := c.Lane.Handle(ctx, d, probe, c.Handle, func(pause time.Duration) bool {
		select {
		case <-time.After(pause):
			return true
		case <-stop.Done():
			return false
		}
	})
	decision := event.Decide(err, d, c.Queue.Retry, stop.Err() != nil, b.options.Now())
	b.carryOut(q, d, decision)
	finish(decision, err)
	return true
}

func (b *Broker) carryOut(q *queue, d event.Delivery, decision event.Decision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q.running--
	switch decision.Action {
	case event.Ack:
	case event.Requeue:
		q.giveBack(d)
	case event.Retry:
		b.route(d.Moved(q.RetryQueue(decision.Level), decision.Headers))
	case event.Dead:
		b.route(d.Moved(q.DeadQueue(), decision.Headers))
	}
}

// setClosing opens or closes the broker for senders, and wakes the workers to see it.
func (b *Broker) setClosing(closing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = closing
	for _, q := range b.queues {
		q.arrived.Broadcast()
	}
}

// reportLoss logs what is lost when the process ends now.
func (b *Broker) reportLoss() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		if len(q.ready)+len(q.waiting)+len(q.dead) == 0 {
			continue
		}
		b.options.Log.Warn().Str("queue", q.Name).Int("ready", len(q.ready)).Int("waiting", len(q.waiting)).
			Int("dead", len(q.dead)).Msg("these messages are lost when the process ends: the in-process broker keeps nothing")
	}
}
