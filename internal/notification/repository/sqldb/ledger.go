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
	d, err := scanDelivery(l.db.Conn(ctx).QueryRowContext(ctx,
		selectDeliveries+"WHERE event_id = $1"+l.db.Dialect().ForUpdate(), fresh.EventID))
	return d, database.Wrap("mail ledger: reading", err)
}

const selectDeliveries = `SELECT event_id, kind, recipient, state, lease_until, attempts, resends, message_id,
	COALESCE(error_class, ''), due_at, created_at, updated_at
FROM mail_deliveries `

func scanDelivery(row database.Row) (d notification.Delivery, err error) {
	err = row.Scan(&d.EventID, &d.Kind, &d.Recipient, &d.State, &d.LeaseUntil, &d.Attempts, &d.Resends, &d.MessageID,
		&d.ErrorClass, database.UTC(&d.DueAt), database.UTC(&d.CreatedAt), database.UTC(&d.UpdatedAt))
	if d.LeaseUntil != nil {
		*d.LeaseUntil = d.LeaseUntil.UTC()
	}
	return d, err
}

// Owe implements notification.OwedLedger. It returns database.ErrNoTx outside a transaction.
func (l *Ledger) Owe(ctx context.Context, entries []notification.Delivery) error {
	const columns = 9
	for part := range slices.Chunk(entries, l.db.Dialect().RowsPer()) {
		args := make([]any, 0, len(part)*columns)
		for _, d := range part {
			args = append(args, d.EventID, d.Kind, d.Recipient, d.State, d.Attempts, d.MessageID,
				database.NullTime(d.DueAt), d.CreatedAt, d.UpdatedAt)
		}
		_, err := l.db.ExecTx(ctx, "mail ledger: entering owed mails", `
			INSERT INTO mail_deliveries (event_id, kind, recipient, state, attempts, message_id, due_at, created_at, updated_at)
			VALUES `+database.Rows(len(part), columns)+" ON CONFLICT (event_id) DO NOTHING", args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Save implements notification.Ledger. It returns database.ErrNoTx outside a transaction.
func (l *Ledger) Save(ctx context.Context, d notification.Delivery) error {
	_, err := l.db.ExecTx(ctx, "mail ledger: saving", `
		UPDATE mail_deliveries
		SET state = $2, lease_until = $3, attempts = $4, resends = $5, error_class = NULLIF($6, ''), updated_at = $7,
			message_id = $8, kind = $9, recipient = $10
		WHERE event_id = $1`,
		d.EventID, d.State, d.LeaseUntil, d.Attempts, d.Resends, d.ErrorClass, d.UpdatedAt, d.MessageID, d.Kind, d.Recipient)
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

// Outcomes returns the states of those mails that have ended. A mail that is open is not among them; nor may be one whose
// entry is stored while Outcomes reads.
func (l *Ledger) Outcomes(ctx context.Context, eventIDs []string) (map[string]notification.State, error) {
	outcomes := make(map[string]notification.State, len(eventIDs))
	for ids := range slices.Chunk(eventIDs, idsPerQuery) {
		args, in := database.In(ids)
		ended, err := database.All(ctx, l.db, "mail ledger: reading outcomes", scanOutcome,
			"SELECT event_id, state FROM mail_deliveries WHERE state NOT IN "+open+" AND event_id IN ("+in+")", args...)
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

// The conditions of states, as literals: the planner matches them with the index of owed mails.
const (
	open = "('owed', 'sending', 'legacy')" // notification.State.Open
	owed = "('owed', 'sending')"           // those of them that a person waits for and this service has to send
)

// Reopen lets a failed mail be sent again, as if no try of it had ever vanished, because an operator has decided so. It is
// owed from now on. Any other entry, and a missing one, stays as it is.
func (l *Ledger) Reopen(ctx context.Context, eventID string, now time.Time) error {
	_, err := l.db.Exec(ctx, "mail ledger: reopening", `
		UPDATE mail_deliveries
		SET state = $2, lease_until = NULL, resends = 0, error_class = NULL, due_at = $4, updated_at = $4
		WHERE event_id = $1 AND state = $3`, eventID, notification.StateOwed, notification.StateFailed, now)
	return err
}

// Withdraw supersedes those mails that no try has claimed: their events have been withdrawn and never leave.
func (l *Ledger) Withdraw(ctx context.Context, eventIDs []string, now time.Time) error {
	for ids := range slices.Chunk(eventIDs, idsPerQuery) {
		args, in := database.In(ids, notification.StateSuperseded, now, notification.StateOwed)
		_, err := l.db.Exec(ctx, "mail ledger: withdrawing", `
			UPDATE mail_deliveries SET state = $1, updated_at = $2
			WHERE state = $3 AND event_id IN (`+in+")", args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Owed is what people wait for.
type Owed struct {
	Mails  int           // that have been due and have not ended
	Oldest time.Duration // how long the oldest of them has been due; 0 when there is none
}

// Owed returns what people wait for. Mails left to the previous release's consumer are not among it.
func (l *Ledger) Owed(ctx context.Context, now time.Time) (o Owed, err error) {
	const due = " FROM mail_deliveries WHERE state IN " + owed + " AND COALESCE(due_at, created_at) <= $1"
	q := l.db.Conn(ctx)
	if err := q.QueryRowContext(ctx, "SELECT count(*)"+due, now).Scan(&o.Mails); err != nil || o.Mails == 0 {
		return o, database.Wrap("mail ledger: counting owed mails", err)
	}
	var dueAt, createdAt time.Time
	err = q.QueryRowContext(ctx, "SELECT due_at, created_at"+due+" ORDER BY COALESCE(due_at, created_at) LIMIT 1", now).
		Scan(database.UTC(&dueAt), database.UTC(&createdAt))
	if database.IsNotFound(err) { // sent a moment ago
		return Owed{}, nil
	}
	if dueAt.IsZero() {
		dueAt = createdAt
	}
	o.Oldest = max(0, now.Sub(dueAt))
	return o, database.Wrap("mail ledger: reading the oldest owed mail", err)
}

// To returns the mails to a recipient that were asked for since then, and those of the events, the newest first. Each digest
// is of the same address under another key.
func (l *Ledger) To(
	ctx context.Context, since time.Time, digests [][]byte, eventIDs []string,
) ([]notification.Delivery, error) {
	args := []any{since}
	for _, digest := range digests {
		args = append(args, digest)
	}
	args, events := database.In(append(slices.Clone(eventIDs), ""), args...) // no event has this id
	return database.All(ctx, l.db, "mail ledger: reading the mails to a recipient", scanDelivery,
		selectDeliveries+"WHERE created_at >= $1 AND (recipient IN ("+database.Placeholders(2, len(digests))+
			") OR event_id IN ("+events+")) ORDER BY created_at DESC, event_id DESC", args...)
}

// FailLost fails the mails that nothing has touched since then, and returns how many. Their events have gone: a queue was
// purged, or a message ended where no handler runs. An event in the outbox has not. A try that may have sent the mail stays
// on record, in case the event does come back.
func (l *Ledger) FailLost(ctx context.Context, then, now time.Time) (int64, error) {
	return l.db.Exec(ctx, "mail ledger: failing lost mails", `
		UPDATE mail_deliveries SET state = $2, error_class = $3, updated_at = $4
		WHERE state IN `+owed+` AND COALESCE(due_at, created_at) < $1 AND updated_at < $1
			AND (lease_until IS NULL OR lease_until < $1)
			AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = mail_deliveries.event_id)`,
		then, notification.StateFailed, notification.ClassLost, now)
}

// EraseRecipient removes to whom the mails went that were asked for before then. Their entries stay: they keep an
// event that comes again from sending its mail twice.
func (l *Ledger) EraseRecipient(ctx context.Context, digests [][]byte, then time.Time) error {
	args := []any{then}
	for _, digest := range digests {
		args = append(args, digest)
	}
	_, err := l.db.ExecTx(ctx, "mail ledger: erasing a recipient", "UPDATE mail_deliveries SET recipient = NULL"+
		" WHERE created_at < $1 AND recipient IN ("+database.Placeholders(2, len(digests))+")", args...)
	return err
}

// PurgeOlderThan deletes the entries that have not changed since then, except those that are owed or under a lease, and
// returns how many it deleted. No event comes back that late: retries end after an hour, and a replay looks the dead letter
// up first.
func (l *Ledger) PurgeOlderThan(ctx context.Context, then time.Time) (int64, error) {
	return l.db.Purge(ctx, "mail ledger: purging", database.Purge{
		Table: "mail_deliveries", Key: "event_id", Oldest: "updated_at",
		Where: "updated_at < $1 AND state <> $2 AND (lease_until IS NULL OR lease_until < $1)",
	}, then, notification.StateOwed)
}
