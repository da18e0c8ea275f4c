package outbox

import (
	"context"
	"time"
)

// pace limits how fast one relay sends rows of batches. Rows are spaced when they are inserted (Event.NotBefore), so in
// quiet times pace only wakes the relay in time for each. After an outage all that came due meanwhile would go at once,
// and later rows would wait behind them at the broker: then it is the limit. Every relay has its own, so the rate of
// several is the sum of theirs.
type pace struct {
	perSecond float64
	allowed   float64   // rows that may go now
	counted   time.Time // when allowed was computed; zero: not yet
	looked    time.Time // when the next due row was last looked for
	next      time.Time // when it comes due; zero: there was none
}

// burst is how many seconds' worth may go at once. It is never less than one row.
const burst = 2.0

// allowance returns how many rows of batches may be claimed at now.
func (p *pace) allowance(now time.Time) int {
	most := max(p.perSecond*burst, 1)
	switch passed := now.Sub(p.counted); {
	case p.counted.IsZero():
		p.allowed = most
	case passed > 0: // a clock that was set back adds nothing
		p.allowed = min(p.allowed+passed.Seconds()*p.perSecond, most)
	}
	p.counted = now
	return int(p.allowed + 1e-6) // sums of fractions fall a hair short of the whole
}

// spend counts a row that was claimed. Where there is one there are more: the next is looked for at once.
func (p *pace) spend() {
	p.allowed--
	p.looked = time.Time{}
}

// rest returns how long the relay may rest: until the next row of a batch is due, Poll at most. It looks for that row once a
// second, and whenever one has been claimed or the last one it knew has come due.
func (r *Relay) rest(ctx context.Context) time.Duration {
	now := r.clock.Now()
	p := &r.pace
	if now.Sub(p.looked) >= Poll || (!p.next.IsZero() && !p.next.After(now)) {
		next, err := nextBatched(ctx, r.db, now)
		if err != nil {
			return Poll // the next claim says what is wrong
		}
		p.looked, p.next = now, next
	}
	if p.next.IsZero() {
		return Poll
	}
	return min(max(p.next.Sub(now), time.Millisecond), Poll)
}
