// Package sqldb stores the mail ledger in the table mail_deliveries.
package sqldb

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/pkg/database"
)

// Ledger implements notification.Ledger, and what operators and batches of invitations ask of it.
type Ledger struct{ db *database.DB }

// NewLedger returns a Ledger on db.
func NewLedger(db *database.DB) *Ledger { return &Ledger{db} }

// Lock implements notification.Ledger. It returns database.ErrNoTx outside a transaction.
func (l *Ledger) Lock(ctx context.Context, fresh notification.Delivery) (notification.Delivery, error) {
	_, err := l.db.ExecTx(ctx, "mail ledger: inserting", `
		INSERT INTO mail_deliveries (event_id, state, attempts, message_id, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (event_id) DO NOTHING`,
		fresh.EventID, fresh.State, fresh.Attempts, fresh.MessageID, fresh.CreatedAt, fresh.UpdatedAt)
	if err != nil {
		return notification.Delivery{}, err
	}
	d := notification.Delivery{EventID: fresh.EventID}
	err = l.db.Conn(ctx).QueryRowContext(ctx, `
		SELECT state, lease_until, attempts, resends, message_id, COALESCE(error_class, ''), created_at, updated_at
		FROM mail_deliveries WHERE event_id = $1`+l.db.Dialect().ForUpdate(), fresh.EventID).
		Scan(&d.State, &d.LeaseUntil, &d.Attempts, &d.Resends, &d.MessageID, &d.ErrorClass,
			database.UTC(&d.CreatedAt), database.UTC(&d.UpdatedAt))
	if d.LeaseUntil != nil {
		*d.LeaseUntil = d.LeaseUntil.UTC()
	}
	return d, database.Wrap("mail ledger: reading", err)
}

// Save implements notification.Ledger. It returns database.ErrNoTx outside a transaction.
func (l *Ledger) Save(ctx context.Context, d notification.Delivery) error {
	_, err := l.db.ExecTx(ctx, "mail ledger: saving", `
		UPDATE mail_deliveries
		SET state = $2, lease_until = $3, attempts = $4, resends = $5, error_class = NULLIF($6, ''), updated_at = $7
		WHERE event_id = $1`,
		d.EventID, d.State, d.LeaseUntil, d.Attempts, d.Resends, d.ErrorClass, d.UpdatedAt)
	return err
}

// State returns the state of the mail of eventID, and "" when there is no entry.
func (l *Ledger) State(ctx context.Context, eventID string) (state notification.State, err error) {
	err = l.db.Conn(ctx).
		QueryRowContext(ctx, "SELECT state FROM mail_deliveries WHERE event_id = $1", eventID).
		Scan(&state)
	return state, database.WrapRow("mail ledger: reading", err, nil)
}

// idsPerQuery is few enough for SQLite's driver; see database.Placeholders.
const idsPerQuery = 200

// Outcomes returns the states of those mails that have ended. A mail that is being sent, or that no try has claimed
// yet, is not among them; nor may be one whose entry is stored while Outcomes reads.
func (l *Ledger) Outcomes(ctx context.Context, eventIDs []string) (map[string]notification.State, error) {
	outcomes := make(map[string]notification.State, len(eventIDs))
	for ids := range slices.Chunk(eventIDs, idsPerQuery) {
		args, in := database.In(ids, notification.StateSending)
		ended, err := database.All(ctx, l.db, "mail ledger: reading outcomes", scanOutcome,
			"SELECT event_id, state FROM mail_deliveries WHERE state <> $1 AND event_id IN ("+in+")", args...)
		if err != nil {
			return nil, err
		}
		for _, d := range ended {
			outcomes[d.EventID] = d.State
		}
	}
	return outcomes, nil
}

func scanOutcome(row database.Row) (d notification.Delivery, err error) {
	err = row.Scan(&d.EventID, &d.State)
	return d, err
}

// Reopen lets a failed mail be sent again, as if no try of it had ever vanished, because an operator has decided so.
// Any other entry, and a missing one, stays as it is.
func (l *Ledger) Reopen(ctx context.Context, eventID string) error {
	_, err := l.db.Exec(ctx, "mail ledger: reopening", `
		UPDATE mail_deliveries SET state = $2, lease_until = NULL, resends = 0, error_class = NULL
		WHERE event_id = $1 AND state = $3`, eventID, notification.StateSending, notification.StateFailed)
	return err
}

// FailLost fails the mails that no try has touched since then, and returns how many. Their events have gone: a queue was
// purged, or a message ended where no handler runs. A try that may have sent the mail stays on record, in case the event
// does come back.
func (l *Ledger) FailLost(ctx context.Context, then, now time.Time) (int64, error) {
	return l.db.Exec(ctx, "mail ledger: failing lost mails", `
		UPDATE mail_deliveries SET state = $3, error_class = $4, updated_at = $5
		WHERE state = $1 AND updated_at < $2 AND (lease_until IS NULL OR lease_until < $2)`,
		notification.StateSending, then, notification.StateFailed, notification.ClassLost, now)
}

// PurgeOlderThan deletes the entries that have not changed since then, except those under a lease, and returns how many
// it deleted. No event comes back that late: retries end after an hour, and a replay looks the dead letter up first.
func (l *Ledger) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return l.db.Exec(ctx, "mail ledger: purging", `
		DELETE FROM mail_deliveries WHERE updated_at < $1 AND (lease_until IS NULL OR lease_until < $1)`, then)
}
