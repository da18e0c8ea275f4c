package outbox

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	batchSize = 512 // rows per claim; a broker's throughput levels off at this many in flight
	// lease is longer than a Send can take, so that no other relay sends the same rows while one is at it.
	lease        = 30 * time.Second
	batchTimeout = 25 * time.Second // a Send takes 20 s at most
	// maxAttempts with pauses from 1 s doubling to 1 min is about ten minutes: the life of a code.
	maxAttempts = 15
	maxPause    = time.Minute
)

// Classes of a failed publish, as metrics and outbox.last_error have them.
const (
	classUnavailable = "unavailable"
	classUnroutable  = "unroutable"
	classRefused     = "refused"
	classRejected    = "rejected"   // the message itself is at fault; claimed apart from then on
	ClassSealed      = "sealed"     // its body cannot be opened
	ClassUnreadable  = "unreadable" // its headers cannot be read
	classOther       = "other"
)

// Observer sees what becomes of each row.
type Observer interface {
	// Published: confirmed by the broker; took is the time from handing it to the broker to the confirm.
	Published(m event.Message, took time.Duration)
	// Failed: not confirmed this time; class is one of unavailable, unroutable, refused, rejected, sealed,
	// unreadable, other. final means that the row has been given up and waits for a person.
	Failed(m event.Message, class string, final bool)
}

// Relay brings rows to the broker. Any number may run, in any number of processes.
type Relay struct {
	*Loop
	db       *database.DB
	sealer   *Sealer
	clock    Clock
	sender   event.Sender
	observer Observer
	log      zerolog.Logger
	pace     pace
	alone    floor
	batched  floor
	// confirmed are rows whose deletion failed: they are deleted before anything else is claimed, so that a short
	// absence of the database does not send them again.
	confirmed []string
}

// NewRelay returns a relay that works once Run does. perSecond is how many rows of batches it lets go in a second at
// most; all others go as fast as the broker takes them.
func NewRelay(
	db *database.DB, sealer *Sealer, clock Clock, sender event.Sender, observer Observer, perSecond float64, log zerolog.Logger,
) *Relay {
	return &Relay{
		db: db, sealer: sealer, clock: clock, sender: sender, observer: observer, log: log,
		Loop: NewLoop(Rows, log), pace: pace{perSecond: perSecond},
	}
}

// Run relays until ctx ends, then finishes the batch it is at and returns nil.
func (r *Relay) Run(ctx context.Context) error {
	return r.Loop.Run(ctx, func(failing bool) (int, time.Duration, error) {
		limit := batchSize
		if failing {
			limit = 1 // enough to see that it is over; leasing a whole batch each second only makes dead rows
		}
		r.CheckKeys(ctx, r.db, r.sealer.KeyIDs())
		n, err := r.relay(ctx, limit)
		if err != nil || n >= limit {
			return n, 0, err
		}
		return n, r.rest(ctx), nil
	})
}

// relay brings up to limit rows to the broker and returns how many it claimed. It has a deadline instead of the end of
// run: a stop lets what is in flight finish.
func (r *Relay) relay(run context.Context, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), batchTimeout)
	defer cancel()
	if err := r.removeConfirmed(ctx); err != nil {
		return 0, err
	}
	rows, err := r.claim(ctx, limit)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	claimed := len(rows)
	rows, err = r.open(ctx, rows)
	if err != nil || len(rows) == 0 {
		return claimed, err
	}
	messages := make([]event.Message, len(rows))
	for i := range rows {
		messages[i] = rows[i].message
	}
	started := time.Now()
	results := r.sender.Send(ctx, messages) // no transaction is open here
	return claimed, r.record(ctx, rows, results, time.Since(started))
}

// record deletes rows that were confirmed, gives back those that an unavailable broker did not take and postpones the
// others. It returns the first of those failures that say something about broker or database.
func (r *Relay) record(ctx context.Context, rows []row, results []error, took time.Duration) error {
	var unavailable []row
	var firstErr error
	for i, result := range results {
		switch {
		case result == nil:
			r.confirmed = append(r.confirmed, rows[i].id)
			r.observer.Published(rows[i].message, took)
		case errors.Is(result, event.ErrUnavailable):
			unavailable = append(unavailable, rows[i])
			r.observer.Failed(rows[i].message, classUnavailable, false)
			firstErr = cmp.Or(firstErr, result)
		default:
			if err := r.postpone(ctx, rows[i], ClassOf(result)); err != nil {
				firstErr = err
			}
		}
	}
	if len(unavailable) > 0 {
		r.alone, r.batched = floor{}, floor{} // they are due again where they were
	}
	if err := release(ctx, r.db, unavailable); err != nil {
		firstErr = err // they come free when their lease ends
	}
	if err := r.removeConfirmed(ctx); err != nil {
		return err
	}
	return firstErr
}

// open unseals the bodies of rows. A row that does not open, or cannot be read, is postponed and left out.
func (r *Relay) open(ctx context.Context, rows []row) ([]row, error) {
	opened := rows[:0]
	for _, row := range rows {
		if row.unreadable {
			r.log.Error().Str("event_id", row.message.ID).Msg("an outbox row has unreadable headers; correct or delete it")
			if err := r.postpone(ctx, row, ClassUnreadable); err != nil {
				return nil, err
			}
			continue
		}
		if row.sealed {
			body, err := r.sealer.Open(row.message.ID, row.message.Body)
			if err != nil {
				r.log.Error().Err(err).Str("event_id", row.message.ID).Msg("an outbox row cannot be opened")
				if err := r.postpone(ctx, row, ClassSealed); err != nil {
					return nil, err
				}
				continue
			}
			row.message.Body = body
		}
		opened = append(opened, row)
	}
	return opened, nil
}

// postpone lets a row that itself is at fault wait alone, longer each time.
func (r *Relay) postpone(ctx context.Context, row row, class string) error {
	now := r.clock.Now()
	due, failedAt := Backoff(class, row.attempts, now)
	r.observer.Failed(row.message, class, failedAt != nil)
	return Rows.Postpone(ctx, r.db, row.id, class, due, failedAt)
}

// Backoff returns when a row that had failed attempts times, and now has once more, is due again. With failedAt it is
// given up, until Retry. A row that the broker refuses never is: a queue is full, or has lost its quorum, and that ends.
func Backoff(class string, attempts int, now time.Time) (due time.Time, failedAt *time.Time) {
	if attempts+1 >= maxAttempts && class != classRefused {
		failedAt = &now
	}
	return now.Add(min(time.Second<<min(attempts, 10), maxPause)), failedAt
}

func (r *Relay) removeConfirmed(ctx context.Context) error {
	if len(r.confirmed) == 0 {
		return nil
	}
	if err := Rows.Remove(ctx, r.db, r.confirmed...); err != nil {
		return err
	}
	r.confirmed = nil
	return nil
}

// ClassOf returns the class of a failed publish, as metrics and the column last_error have it.
func ClassOf(err error) string {
	switch {
	case errors.Is(err, event.ErrUnavailable):
		return classUnavailable
	case errors.Is(err, event.ErrUnroutable):
		return classUnroutable
	case errors.Is(err, event.ErrRefused):
		return classRefused
	case errors.Is(err, event.ErrRejected):
		return classRejected
	default:
		return classOther
	}
}
