// Package sqldb stores the mail ledger in the table mail_deliveries.
package sqldb

import (
	"context"
	"fmt"
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
	err = tx.QueryRowContext(ctx, `
		SELECT state, lease_until, attempts, resends, message_id, COALESCE(error_class, ''), created_at, updated_at
		FROM mail_deliveries WHERE event_id = $1`+l.db.Dialect().ForUpdate(), fresh.EventID).
		Scan(&d.State, &d.LeaseUntil, &d.Attempts, &d.Resends, &d.MessageID, &d.ErrorClass, &d.CreatedAt, &d.UpdatedAt)
	if err != nil {
		return d, fmt.Errorf("mail ledger: reading: %w", err)
	}
	if d.LeaseUntil != nil {
		*d.LeaseUntil = d.LeaseUntil.UTC()
	}
	d.CreatedAt = d.CreatedAt.UTC()
	d.UpdatedAt = d.UpdatedAt.UTC()
	return d, nil
}

// Save implements notification.Ledger. It returns database.ErrNoTx outside a transaction.
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

// State returns the state of the mail of eventID, and "" when there is no entry.
func (l *Ledger) State(ctx context.Context, eventID string) (notification.State, error) {
	var state notification.State
	err := l.db.Conn(ctx).
		QueryRowContext(ctx, "SELECT state FROM mail_deliveries WHERE event_id = $1", eventID).
		Scan(&state)
	if err != nil && !database.IsNotFound(err) {
		return "", fmt.Errorf("mail ledger: reading: %w", err)
	}
	return state, nil
}

// idsPerQuery is few enough for SQLite's driver; see database.Placeholders.
const idsPerQuery = 200

// Outcomes returns the states of those mails that have ended. A mail that is being sent, or that no try has claimed
// yet, is not among them; nor may be one whose entry is stored while Outcomes reads.
func (l *Ledger) Outcomes(ctx context.Context, eventIDs []string) (map[string]notification.State, error) {
	outcomes := make(map[string]notification.State, len(eventIDs))
	for ids := range slices.Chunk(eventIDs, idsPerQuery) {
		if err := l.addOutcomes(ctx, outcomes, ids); err != nil {
			return nil, fmt.Errorf("mail ledger: reading outcomes: %w", err)
		}
	}
	return outcomes, nil
}

func (l *Ledger) addOutcomes(ctx context.Context, outcomes map[string]notification.State, eventIDs []string) error {
	args := []any{notification.StateSending}
	for _, id := range eventIDs {
		args = append(args, id)
	}
	rows, err := l.db.Conn(ctx).QueryContext(ctx, `
		SELECT event_id, state FROM mail_deliveries
		WHERE state <> $1 AND event_id IN (`+database.Placeholders(2, len(eventIDs))+")", args...)
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
		outcomes[id] = state
	}
	return rows.Err()
}

// Reopen lets a failed mail be sent again, as if no try of it had ever vanished, because an operator has decided so.
// Any other entry, and a missing one, stays as it is.
func (l *Ledger) Reopen(ctx context.Context, eventID string) error {
	_, err := l.db.Conn(ctx).ExecContext(ctx, `
		UPDATE mail_deliveries SET state = $2, lease_until = NULL, resends = 0, error_class = NULL
		WHERE event_id = $1 AND state = $3`, eventID, notification.StateSending, notification.StateFailed)
	if err != nil {
		return fmt.Errorf("mail ledger: reopening: %w", err)
	}
	return nil
}

// PurgeOlderThan deletes the entries that have not changed since then, except those under a lease, and returns how many
// it deleted. No event comes back that late: retries end after an hour, and a replay looks the dead letter up first.
func (l *Ledger) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	result, err := l.db.Conn(ctx).ExecContext(ctx, `
		DELETE FROM mail_deliveries WHERE updated_at < $1 AND (lease_until IS NULL OR lease_until < $1)`, then)
	if err != nil {
		return 0, fmt.Errorf("mail ledger: purging: %w", err)
	}
	return result.RowsAffected()
}
