package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// singleNeeds is how much of its lease must be left when a single is begun: the 20 s a Send can take, and 5 s to write
// down what came of it. Its readers recognise no repeats, so no other relay may take it meanwhile.
const singleNeeds = 25 * time.Second

const (
	// renewEvery is how often the lease of a single is renewed while its Send lasts: a broker under an alarm has it, and
	// says nothing before that is over. Twice in a lease, with room for a database that is slow.
	renewEvery = 10 * time.Second
	// bookkeeping bounds what is written down after a single, however long its Send took.
	bookkeeping = 5 * time.Second
)

// split tells the rows that go together from those that go alone, each in their order.
func split(rows []row) (pipelined, singles []row) {
	for _, row := range rows {
		if row.message.Single {
			singles = append(singles, row)
		} else {
			pipelined = append(pipelined, row)
		}
	}
	return pipelined, singles
}

// publishSingles brings rows to the broker one at a time, each deleted before the next is sent: a relay that is killed
// can repeat one. What it does not begin, because the lease runs out, stop is closed, or broker or database are away, it
// gives back for any relay to take at once.
func (r *Relay) publishSingles(ctx context.Context, stop <-chan struct{}, rows []row) error {
	for i := range rows {
		if closed(stop) {
			return r.giveBack(ctx, rows[i:])
		}
		if rows[i].leaseUntil.Sub(r.clock.Now()) < singleNeeds {
			r.Wake() // there is more to do, whatever the size of this batch
			return r.giveBack(ctx, rows[i:])
		}
		if err := r.publishSingle(ctx, stop, rows[i:i+1]); err != nil {
			return errors.Join(err, r.giveBack(ctx, rows[i+1:]))
		}
	}
	return nil
}

func (r *Relay) giveBack(ctx context.Context, rows []row) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
	defer cancel()
	return release(ctx, r.db, rows)
}

// publishSingle publishes the one row of alone. No other relay gets it while the Send lasts.
func (r *Relay) publishSingle(ctx context.Context, stop <-chan struct{}, alone []row) error {
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		defer giveUp()
		r.keepLease(sending, stop, &alone[0])
	}()
	started := time.Now()
	results := r.sender.Send(sending, []event.Message{alone[0].message}) // no transaction is open here
	took := time.Since(started)
	giveUp()
	<-kept
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
	defer cancel()
	return r.settle(ctx, alone, results, took)
}

// keepLease renews the lease of one until ctx ends. It returns before, for the Send to be given up, when stop is closed,
// or when the lease, not renewed, will have run out by the next time: the database is away, or somebody else has the row.
func (r *Relay) keepLease(ctx context.Context, stop <-chan struct{}, one *row) {
	ticks := r.renewals
	if ticks == nil {
		ticker := time.NewTicker(renewEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case <-ticks:
		}
		if until, err := r.renew(ctx, *one); err == nil {
			one.leaseUntil = until
		}
		if one.leaseUntil.Sub(r.clock.Now()) <= renewEvery {
			return
		}
	}
}

// renew is not cut off by the end of the Send: then nobody would know whether it has happened, and which lease is ours.
func (r *Relay) renew(ctx context.Context, one row) (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
	defer cancel()
	return renew(ctx, r.db, one, r.clock.Now().Add(lease))
}

func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
