package legacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// UnnamedFor is how long a mail that came without an id is remembered once it was sent: much longer than the broker
	// needs to hand out again what was not acked, and no longer than its code lives.
	UnnamedFor = 10 * time.Minute
	// rememberTimeout bounds one write. The mail does not depend on it.
	rememberTimeout = 2 * time.Second
)

// UnnamedDeps are what an Unnamed needs; all are required.
type UnnamedDeps struct {
	DB      *database.DB
	Clock   Clock
	SealKey []byte        // EVENTS_SEAL_KEY, from which the digests' key is derived
	Lease   time.Duration // how long one try to send may take
	Log     zerolog.Logger
}

// Unnamed remembers mails that carry no id, which are those of the previous release's api, by a keyed digest of their
// bodies. Two such mails may be the same word for word, so the first delivery of each is sent, whatever is remembered.
// One that the broker has handed out again, or that was tried before, is not sent while another process is sending it,
// or after it was sent.
type Unnamed struct {
	deps UnnamedDeps
	key  []byte
}

// NewUnnamed returns an Unnamed.
func NewUnnamed(d UnnamedDeps) *Unnamed {
	return &Unnamed{d, digest(d.SealKey, "identity: mails without an id")}
}

// Guard returns a handler that recognises repeats and hands the others to next. While the database is unavailable first
// deliveries are sent all the same; others are tried again.
func (u *Unnamed) Guard(next event.Handler) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		if !m.CameUnnamed() {
			return next(ctx, m)
		}
		body := digest(u.key, string(m.Body))
		if m.Moves() > 0 {
			if err := u.check(ctx, body); err != nil {
				return err
			}
		}
		u.begin(ctx, body)
		err := next(ctx, m)
		u.end(ctx, body, err == nil)
		return err
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

func (u *Unnamed) begin(ctx context.Context, body []byte) {
	now := u.deps.Clock.Now()
	u.remember(ctx, `
		INSERT INTO unnamed_mails (digest, busy_until, touched_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO UPDATE SET busy_until = excluded.busy_until, touched_at = excluded.touched_at`,
		body, now.Add(u.deps.Lease), now)
}

// end is not cut short by the end of ctx: what is known now is worth the most then.
func (u *Unnamed) end(ctx context.Context, body []byte, sent bool) {
	var sentAt *time.Time
	now := u.deps.Clock.Now()
	if sent {
		sentAt = &now
	}
	u.remember(context.WithoutCancel(ctx), `
		INSERT INTO unnamed_mails (digest, sent_at, touched_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO UPDATE SET busy_until = NULL, sent_at = coalesce(excluded.sent_at, unnamed_mails.sent_at),
			touched_at = excluded.touched_at`, body, sentAt, now)
}

func (u *Unnamed) remember(ctx context.Context, statement string, args ...any) {
	ctx, cancel := context.WithTimeout(ctx, rememberTimeout)
	defer cancel()
	if _, err := u.deps.DB.Conn(ctx).ExecContext(ctx, statement, args...); err != nil {
		u.deps.Log.Warn().Err(err).Msg("a mail without an id was not recorded; handed out again, it would be sent again")
	}
}

// PurgeUnnamed deletes what was last touched before then and returns how many mails that were.
func PurgeUnnamed(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "DELETE FROM unnamed_mails WHERE touched_at < $1", then.UTC())
	if err != nil {
		return 0, fmt.Errorf("legacy: purging mails without an id: %w", err)
	}
	return result.RowsAffected()
}
