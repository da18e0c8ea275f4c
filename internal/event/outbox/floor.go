package outbox

import (
	"context"
	"time"
)

const (
	// walkEvery is how often a claim begins at the very first row, whatever was seen before.
	walkEvery = 5 * time.Second
	// rejectedPerClaim bounds the rows that each take a channel of their own, so that they delay no others.
	rejectedPerClaim = 16
)

// floor is the position below which the last claims left nothing to be claimed. Deleted rows stay in the index as long as
// any transaction may still see them: under a held snapshot a claim from the first row would pass all that have left.
// A row that commits late, comes back from another relay or was stored under a clock set back can lie below the floor.
// It is found within walkEvery.
type floor struct {
	position
	walked time.Time // when a claim last began at the first row
}

// from returns where a claim begins.
func (f *floor) from(now time.Time) position {
	if passed := now.Sub(f.walked); passed < 0 || passed >= walkEvery {
		*f = floor{walked: now}
	}
	return f.position
}

// claim leases up to limit rows that stand for themselves, rows of batches at their pace, and a few of those that the
// broker has rejected.
func (r *Relay) claim(ctx context.Context, limit int) ([]row, error) {
	now := r.clock.Now()
	alone := share{of: ofAlone, limit: limit, above: r.alone.from(now)}
	batched := share{of: ofBatched, limit: min(limit, r.pace.allowance(now)), above: r.batched.from(now)}
	rejected := share{of: ofRejected, limit: min(limit, rejectedPerClaim)}
	rows, err := claim(ctx, r.db, now, r.sealer.KeyIDs(), alone, batched, rejected)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, row := range rows {
		place := position{row.availableAt, row.id}
		switch {
		case row.message.Alone:
		case row.batch != "":
			r.batched.position = place // those below can wait for the next walk
		default:
			n++
			r.alone.position = place
		}
		if row.batch != "" {
			r.pace.spend()
		}
	}
	if n == limit {
		return rows, nil
	}
	// All above the floor has been claimed. What has come in below it since must not wait for the next walk.
	r.alone.position = position{}
	if alone.above == (position{}) {
		return rows, nil
	}
	r.alone.walked = now
	below, err := claim(ctx, r.db, now, r.sealer.KeyIDs(), share{of: ofAlone, limit: limit - n})
	return append(below, rows...), err
}
