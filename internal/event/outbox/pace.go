package outbox

import (
	"context"
	"time"
)

// pace is how fast one relay lets rows of batches go. They are spaced when they are inserted (Event.NotBefore), so in
// quiet times it only wakes the relay in time for each. After an outage all that came due meanwhile would go at once, and
// whatever comes later would wait behind them at the broker: then it is the limit.
type pace struct {
	perSecond float64
	allowed   float64 // rows that may go now
	counted   time.Time
	looked    time.Time // when the next due row was last looked for
	next      time.Time // when it comes due; zero: none was found
}

// burst is how many seconds' worth may go at once: what gathers between two looks.
const burst = 2.0

// allowance answers how many rows of batches may be claimed at now.
func (p *pace) allowance(now time.Time) int {
	if p.counted.IsZero() || now.Before(p.counted) {
		p.allowed, p.counted = p.perSecond*burst, now
	}
	p.allowed = min(p.allowed+now.Sub(p.counted).Seconds()*p.perSecond, p.perSecond*burst)
	p.counted = now
	if p.perSecond < 1 && p.allowed > 0.999 { // slower than one a second
		return 1
	}
	return int(p.allowed)
}

// spend counts n rows that were claimed.
func (p *pace) spend(n int) { p.allowed -= float64(n) }

// rest is how long the relay may rest: until the next row of a batch is due, poll at most. It looks for that row once a
// second, and whenever the last one it knew has come due.
func (r *Relay) rest(ctx context.Context) time.Duration {
	now := r.clock.Now()
	p := &r.pace
	if now.Sub(p.looked) >= poll || (!p.next.IsZero() && !p.next.After(now)) {
		next, err := nextBatched(ctx, r.db, now)
		if err != nil {
			return poll // the next claim says what is wrong
		}
		p.looked, p.next = now, next
	}
	if p.next.IsZero() {
		return poll
	}
	return min(max(p.next.Sub(now), time.Millisecond), poll)
}
