// Package sqldb keeps the mail ledger in the table mail_deliveries.
package sqldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/pkg/database"
)

// Ledger implements notification.Ledger.
type Ledger struct{ db *database.DB }

// NewLedger answers a Ledger on db.
func NewLedger(db *database.DB) *Ledger { return &Ledger{db} }

// Lock implements notification.Ledger; outside a transaction it answers database.ErrNoTx.
func (l *Ledger) Lock(ctx context.Context, fresh notification.Delivery) (notification.Delivery, error) {
	tx, err := l.db.Tx(ctx)
	if err != nil {
		return notification.Delivery{}, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO mail_deliveries (event_id, state, attempts, message_id, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (event_id) DO NOTHING`,
		fresh.EventID, fresh.State, fresh.Attempts, fresh.MessageID, fresh.CreatedAt, fresh.UpdatedAt)
	if err != nil {
		return notification.Delivery{}, fmt.Errorf("mail ledger: inserting: %w", err)
	}
	d := notification.Delivery{EventID: fresh.EventID}
	var class *string
	err = tx.QueryRowContext(ctx, `
		SELECT state, lease_until, attempts, resends, message_id, error_class, created_at, updated_at
		FROM mail_deliveries WHERE event_id = $1`+l.db.Dialect().ForUpdate(), fresh.EventID).
		Scan(&d.State, &d.LeaseUntil, &d.Attempts, &d.Resends, &d.MessageID, &class, &d.CreatedAt, &d.UpdatedAt)
	if err != nil {
		return d, fmt.Errorf("mail ledger: reading: %w", err)
	}
	if class != nil {
		d.ErrorClass = *class
	}
	if d.LeaseUntil != nil {
		utc := d.LeaseUntil.UTC()
		d.LeaseUntil = &utc
	}
	d.CreatedAt, d.UpdatedAt = d.CreatedAt.UTC(), d.UpdatedAt.UTC()
	return d, nil
}

// Save implements notification.Ledger; outside a transaction it answers database.ErrNoTx.
func (l *Ledger) Save(ctx context.Context, d notification.Delivery) error {
	tx, err := l.db.Tx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE mail_deliveries
		SET state = $2, lease_until = $3, attempts = $4, resends = $5, error_class = NULLIF($6, ''), updated_at = $7
		WHERE event_id = $1`,
		d.EventID, d.State, d.LeaseUntil, d.Attempts, d.Resends, d.ErrorClass, d.UpdatedAt)
	if err != nil {
		return fmt.Errorf("mail ledger: saving: %w", err)
	}
	return nil
}

// State implements notification.Ledger.
func (l *Ledger) State(ctx context.Context, eventID string) (notification.State, error) {
	var state notification.State
	err := l.db.Conn(ctx).QueryRowContext(ctx, "SELECT state FROM mail_deliveries WHERE event_id = $1", eventID).Scan(&state)
	if database.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("mail ledger: reading: %w", err)
	}
	return state, nil
}

// idsPerQuery is few enough for SQLite's driver; see database.Placeholders.
const idsPerQuery = 200

// Outcomes implements notification.Ledger. What is stored while it reads may be missing.
func (l *Ledger) Outcomes(ctx context.Context, eventIDs []string) (map[string]notification.State, error) {
	outcomes := make(map[string]notification.State, len(eventIDs))
	for ids := range slices.Chunk(eventIDs, idsPerQuery) {
		if err := l.outcomes(ctx, ids, outcomes); err != nil {
			return nil, fmt.Errorf("mail ledger: reading outcomes: %w", err)
		}
	}
	return outcomes, nil
}

func (l *Ledger) outcomes(ctx context.Context, eventIDs []string, into map[string]notification.State) error {
	args := []any{notification.StateSending}
	for _, id := range eventIDs {
		args = append(args, id)
	}
	rows, err := l.db.Conn(ctx).QueryContext(ctx, "SELECT event_id, state FROM mail_deliveries WHERE state <> $1 AND event_id IN ("+
		database.Placeholders(2, len(eventIDs))+")", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var state notification.State
		if err := rows.Scan(&id, &state); err != nil {
			return err
		}
		into[id] = state
	}
	return rows.Err()
}

// Reopen implements notification.Ledger.
func (l *Ledger) Reopen(ctx context.Context, eventID string) error {
	_, err := l.db.Conn(ctx).ExecContext(ctx, `
		UPDATE mail_deliveries SET state = $2, lease_until = NULL, resends = 0, error_class = NULL
		WHERE event_id = $1 AND state = $3`, eventID, notification.StateSending, notification.StateFailed)
	if err != nil {
		return fmt.Errorf("mail ledger: reopening: %w", err)
	}
	return nil
}

// PurgeOlderThan deletes entries nobody has touched since then, but for those that are being sent, and answers how
// many. An event cannot come back that late: retries end after an hour, and a dead letter is looked up before replay.
func (l *Ledger) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	result, err := l.db.Conn(ctx).ExecContext(ctx, `
		DELETE FROM mail_deliveries WHERE updated_at < $1 AND (lease_until IS NULL OR lease_until < $1)`, then)
	if err != nil {
		return 0, fmt.Errorf("mail ledger: purging: %w", err)
	}
	return result.RowsAffected()
}
