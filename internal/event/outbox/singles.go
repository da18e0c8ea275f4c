package outbox

import (
	"context"
	"errors"
	"time"
)

// singleNeeds is how much of its lease must be left when a single is begun: the 20 s a Send can take, and 5 s to write
// down what came of it. Its readers recognise no repeats, so no other relay may take it meanwhile.
const singleNeeds = 25 * time.Second

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
	for i, row := range rows {
		if closed(stop) {
			return release(ctx, r.db, rows[i:])
		}
		if row.leaseUntil.Sub(r.clock.Now()) < singleNeeds {
			r.Wake() // there is more to do, whatever the size of this batch
			return release(ctx, r.db, rows[i:])
		}
		if err := r.publish(ctx, rows[i:i+1]); err != nil {
			return errors.Join(err, release(ctx, r.db, rows[i+1:]))
		}
	}
	return nil
}

func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
