package legacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// UnnamedFor is how long a mail that came without an id is remembered once it was sent: much longer than the broker
	// needs to hand out again what was not acked, and no longer than its code lives.
	UnnamedFor = 10 * time.Minute
	// rememberTimeout bounds the note that a mail was sent, which a stop does not cut off.
	rememberTimeout = 2 * time.Second
)

// UnnamedDeps are what an Unnamed needs; all are required.
type UnnamedDeps struct {
	DB    *database.DB
	Clock Clock
	// SealKeys are EVENTS_SEAL_KEY and those accepted beside it. The digests' keys are derived from them.
	SealKeys [][]byte
	// Lease is how long the mail of a killed process waits. A try renews its own every RenewEvery while it lasts.
	Lease, RenewEvery time.Duration
}

// Unnamed remembers mails that came without an id, which are those of the previous release's api, by a keyed digest of
// their bodies. The mail ledger knows each copy by the id that the [Reader] gave it; Unnamed finds the second copy of a
// mail that was moved twice.
//
// Two such mails may be the same word for word, so the first delivery of each is sent, whatever is remembered. One that
// was handed out before, by the old queue or by ours, or that was tried before, is not sent while another process is
// sending it, or after it was sent.
type Unnamed struct {
	deps UnnamedDeps
	keys [][]byte
}

// NewUnnamed returns an Unnamed.
func NewUnnamed(d UnnamedDeps) *Unnamed {
	return &Unnamed{d, derive(d.SealKeys, "identity: mails without an id")}
}

// Guard returns a handler that recognises repeats and hands the others to next. While the database is unavailable mails
// wait, as they do for the ledger.
func (u *Unnamed) Guard(next event.Handler) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		if !m.CameUnnamed() {
			return next(ctx, m)
		}
		body := digest(u.keys[0], string(m.Body))
		if m.Moves() > 0 || m.HandedOut > 0 {
			for _, key := range u.keys { // a process with the keys the other way round may have remembered it
				if err := u.check(ctx, digest(key, string(m.Body))); err != nil {
					return err
				}
			}
		}
		if err := u.begin(ctx, body); err != nil {
			return err
		}
		err := u.whileBusy(ctx, body, func() error { return next(ctx, m) })
		outcome, _ := event.Ended(err)
		sent := outcome == event.Handled || outcome == event.DropDuplicate
		return errors.Join(err, u.end(ctx, body, sent))
	}
}

// check returns event.Drop when the mail has been sent, and event.NotYet while another process is sending it.
func (u *Unnamed) check(ctx context.Context, body []byte) error {
	var busy, sent sql.NullTime
	err := u.deps.DB.Conn(ctx).QueryRowContext(ctx, `
		SELECT busy_until, sent_at FROM unnamed_mails WHERE digest = $1`, body).Scan(&busy, &sent)
	now := u.deps.Clock.Now()
	switch {
	case database.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("legacy: looking for a mail without an id: %w", err)
	case sent.Valid && now.Sub(sent.Time) < UnnamedFor:
		return event.Drop(event.DropDuplicate)
	case busy.Valid && now.Before(busy.Time):
		return event.NotYet(busy.Time.Sub(now), errors.New("legacy: another process is sending this mail"))
	default:
		return nil
	}
}

func (u *Unnamed) begin(ctx context.Context, body []byte) error {
	now := u.deps.Clock.Now()
	return u.remember(ctx, `
		INSERT INTO unnamed_mails (digest, busy_until, touched_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO UPDATE SET busy_until = excluded.busy_until, touched_at = excluded.touched_at`,
		body, now.Add(u.deps.Lease), now)
}

// whileBusy runs send and renews the lease of its mail meanwhile. A lease that cannot be renewed does not cut the try:
// that of the mail ledger does.
func (u *Unnamed) whileBusy(ctx context.Context, body []byte, send func() error) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() {
		ticks := time.NewTicker(u.deps.RenewEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				_ = u.begin(ctx, body) // the next may succeed
			}
		}
	})
	defer renewing.Wait()
	defer stop()
	return send()
}

// end is not cut short by the end of ctx: what is known now is worth the most then. When it fails on a mail that was
// sent, the next try finds the mail in the ledger.
func (u *Unnamed) end(ctx context.Context, body []byte, sent bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTimeout)
	defer cancel()
	now := u.deps.Clock.Now()
	return u.remember(ctx, `
		INSERT INTO unnamed_mails (digest, sent_at, touched_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO UPDATE SET busy_until = NULL, sent_at = coalesce(excluded.sent_at, unnamed_mails.sent_at),
			touched_at = excluded.touched_at`, body, sql.NullTime{Time: now, Valid: sent}, now)
}

func (u *Unnamed) remember(ctx context.Context, statement string, args ...any) error {
	if _, err := u.deps.DB.Conn(ctx).ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("legacy: recording a mail without an id: %w", err)
	}
	return nil
}

// PurgeUnnamed deletes what was last touched before then and returns how many mails that were.
func PurgeUnnamed(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	return db.Purge(ctx, "legacy: purging mails without an id",
		database.Purge{Table: "unnamed_mails", Key: "digest", Oldest: "touched_at", Where: "touched_at < $1"}, then.UTC())
}
