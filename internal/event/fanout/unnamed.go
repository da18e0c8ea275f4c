package fanout

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

// Unnamed remembers mails that carry no id, which are those of the previous release's api, by a keyed digest of their
// bodies. Two such mails may be the same word for word, so the first delivery of each is sent, whatever is remembered.
// One that the broker has handed out again, or that was tried before, is not, while another process is at it or after it
// was sent.
type Unnamed struct {
	db    *database.DB
	clock Clock
	key   []byte
	lease time.Duration
	log   zerolog.Logger
}

// NewUnnamed answers an Unnamed. Its key is derived from EVENTS_SEAL_KEY; lease is how long one try to send may take.
func NewUnnamed(db *database.DB, clock Clock, sealKey []byte, lease time.Duration, log zerolog.Logger) *Unnamed {
	return &Unnamed{db: db, clock: clock, key: digest(sealKey, "identity: mails without an id"), lease: lease, log: log}
}

// Around answers a handler that does so, and hands mails to next. A database that is away keeps nobody's first delivery
// back; others are tried again.
func (u *Unnamed) Around(next event.Handler) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		if !m.CameUnnamed() {
			return next(ctx, m)
		}
		body := digest(u.key, string(m.Body))
		if m.Moves() > 0 {
			if err := u.look(ctx, body); err != nil {
				return err
			}
		}
		u.begin(ctx, body)
		err := next(ctx, m)
		u.end(ctx, body, err == nil)
		return err
	}
}

// look answers event.Drop when the mail has been sent, and event.NotYet while somebody is at it.
func (u *Unnamed) look(ctx context.Context, body []byte) error {
	var busy, sent sql.NullTime
	err := u.db.Conn(ctx).QueryRowContext(ctx, "SELECT busy_until, sent_at FROM unnamed_mails WHERE digest = $1", body).
		Scan(&busy, &sent)
	now := u.clock.Now()
	switch {
	case database.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("fanout: looking for a mail without an id: %w", err)
	case sent.Valid && now.Sub(sent.Time) < UnnamedFor:
		return event.Drop(event.DropDuplicate)
	case busy.Valid && now.Before(busy.Time):
		return event.NotYet(busy.Time.Sub(now), errors.New("fanout: another process is sending this mail"))
	default:
		return nil
	}
}

func (u *Unnamed) begin(ctx context.Context, body []byte) {
	now := u.clock.Now()
	u.remember(ctx, `
		INSERT INTO unnamed_mails (digest, busy_until, touched_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO UPDATE SET busy_until = excluded.busy_until, touched_at = excluded.touched_at`,
		body, now.Add(u.lease), now)
}

// end is not cut by the end of ctx: what is known now is worth the most then.
func (u *Unnamed) end(ctx context.Context, body []byte, sent bool) {
	var sentAt *time.Time
	now := u.clock.Now()
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
	if _, err := u.db.Conn(ctx).ExecContext(ctx, statement, args...); err != nil {
		u.log.Warn().Err(err).Msg("a mail without an id is sent and not remembered: handed out again, it would be sent again")
	}
}

// PurgeUnnamed forgets what was last touched before then and answers how many mails that were.
func PurgeUnnamed(ctx context.Context, db *database.DB, then time.Time) (int64, error) {
	result, err := db.Conn(ctx).ExecContext(ctx, "DELETE FROM unnamed_mails WHERE touched_at < $1", then.UTC())
	if err != nil {
		return 0, fmt.Errorf("fanout: purging mails without an id: %w", err)
	}
	return result.RowsAffected()
}
