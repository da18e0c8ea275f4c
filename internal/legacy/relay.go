package legacy

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// lease is longer than a send can take while the broker is not blocked, so that no other relay claims the row.
	lease = 30 * time.Second
	// renewEvery is how often the lease is renewed while a send lasts: a broker under an alarm has the message and
	// confirms nothing before the alarm is over. Twice in a lease, with room for a slow database.
	renewEvery = 10 * time.Second
	// bookkeeping bounds each statement, however long the send before it took.
	bookkeeping = 5 * time.Second
)

// RelayDeps are what a Relay needs; all are required.
type RelayDeps struct {
	DB     *database.DB
	Clock  Clock
	Sealer Sealer
	// Send publishes one message and waits until it is confirmed or has failed: (*Sender).Send.
	Send     func(ctx context.Context, m event.Message) error
	Observer outbox.Observer
	Log      zerolog.Logger
}

// Relay brings legacy copies to the broker, one at a time: each row is deleted before the next is claimed, so that a
// relay that is killed repeats one copy at most, and no other relay has a row while its send lasts. The readers of
// these copies recognise no repeats. Any number of relays may run, in any number of processes.
type Relay struct {
	*outbox.Loop
	deps     RelayDeps
	renewals <-chan time.Time // nil: every renewEvery
	// confirmed is a row whose deletion failed: it is deleted before anything else is claimed, so that a short absence
	// of the database does not send it again.
	confirmed string
}

// NewRelay returns a relay that works once Run does.
func NewRelay(d RelayDeps) *Relay { return &Relay{Loop: outbox.NewLoop(Rows, d.Log), deps: d} }

// Run relays until ctx ends and returns nil. A send under way is given up then if the broker is blocked, and else
// finished.
func (r *Relay) Run(ctx context.Context) error {
	return r.Loop.Run(ctx, func(bool) (int, time.Duration, error) {
		r.CheckKeys(ctx, r.deps.DB, r.deps.Sealer.KeyIDs())
		handled, err := r.next(ctx)
		if err != nil || !handled {
			return 0, outbox.Poll, err
		}
		return 1, 0, nil
	})
}

// next brings one row to the broker and records what became of it. It reports whether there was one; an error says
// something about broker or database.
func (r *Relay) next(run context.Context) (handled bool, err error) {
	if err := r.removeConfirmed(run); err != nil {
		return false, err
	}
	one, handled, err := r.claim(run)
	if err != nil || !handled {
		return false, err
	}
	if one.unreadable {
		r.deps.Log.Error().Str("event_id", one.message.ID).Msg("a legacy copy has unreadable headers; correct or delete its row")
		return true, r.postpone(run, one, outbox.ClassUnreadable)
	}
	body, err := r.deps.Sealer.Open(one.message.ID, one.message.Body)
	if err != nil {
		r.deps.Log.Error().Err(err).Str("event_id", one.message.ID).Msg("a legacy copy cannot be opened")
		return true, r.postpone(run, one, outbox.ClassSealed)
	}
	one.message.Body = body
	started := time.Now()
	err = r.send(run, &one)
	switch {
	case err == nil:
		r.confirmed = one.id
		r.deps.Observer.Published(one.message, time.Since(started))
		return true, r.removeConfirmed(run)
	case errors.Is(err, event.ErrUnavailable):
		r.deps.Observer.Failed(one.message, outbox.ClassOf(err), false)
		ctx, cancel := record(run)
		defer cancel()
		return true, errors.Join(err, one.release(ctx, r.deps.DB))
	default:
		return true, r.postpone(run, one, outbox.ClassOf(err))
	}
}

// send publishes the message of one. It is given up when run ends, or when the lease can no longer be kept.
func (r *Relay) send(run context.Context, one *row) error {
	sending, giveUp := context.WithCancel(run)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		defer giveUp()
		r.keepLease(sending, one)
	}()
	err := r.deps.Send(sending, one.message) // no transaction is open here
	giveUp()
	<-kept
	return err
}

// keepLease renews the lease of one until ctx ends. It returns before when the lease, not renewed, will have run out by
// the next time: the database is unavailable, or another relay has the row.
func (r *Relay) keepLease(ctx context.Context, one *row) {
	ticks := r.renewals
	if ticks == nil {
		ticks = time.Tick(renewEvery)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		r.renew(ctx, one)
		if one.leaseUntil.Sub(r.deps.Clock.Now()) <= renewEvery {
			return
		}
	}
}

// renew leaves the lease as it is when it fails. It is not cut off by the end of the send: then it would be unknown
// whether it has happened, and which lease is ours.
func (r *Relay) renew(ctx context.Context, one *row) {
	ctx, cancel := record(ctx)
	defer cancel()
	if err := one.renew(ctx, r.deps.DB, r.deps.Clock.Now().Add(lease)); err != nil {
		r.deps.Log.Debug().Err(err).Str("event_id", one.message.ID).Msg("a lease was not renewed")
	}
}

func (r *Relay) claim(ctx context.Context) (row, bool, error) {
	ctx, cancel := record(ctx)
	defer cancel()
	now := r.deps.Clock.Now()
	return claim(ctx, r.deps.DB, r.deps.Sealer.KeyIDs(), now, now.Add(lease))
}

// postpone lets a row that itself is at fault wait alone, longer each time, as the outbox does.
func (r *Relay) postpone(ctx context.Context, one row, class string) error {
	ctx, cancel := record(ctx)
	defer cancel()
	due, failedAt := outbox.Backoff(class, one.attempts, r.deps.Clock.Now())
	r.deps.Observer.Failed(one.message, class, failedAt != nil)
	return Rows.Postpone(ctx, r.deps.DB, one.id, class, due, failedAt)
}

func (r *Relay) removeConfirmed(ctx context.Context) error {
	if r.confirmed == "" {
		return nil
	}
	ctx, cancel := record(ctx)
	defer cancel()
	if err := Rows.Remove(ctx, r.deps.DB, r.confirmed); err != nil {
		return err
	}
	r.confirmed = ""
	return nil
}

// record returns the context of a statement, which a stop does not cut off: what has happened to a row is written down.
func record(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
}
