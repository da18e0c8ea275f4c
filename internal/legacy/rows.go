package legacy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

// Rows is the table of legacy copies.
const Rows outbox.Table = "legacy_mails"

// row is one legacy copy that has not left, under the lease of a relay. Its body is sealed in the database.
type row struct {
	id         string
	message    event.Message
	leaseUntil time.Time
	attempts   int
	unreadable bool // its headers are not what insert stores
}

// insert stores m, which is due at once.
func insert(ctx context.Context, tx database.Querier, s Sealer, m event.Message, now time.Time) error {
	headers, err := json.Marshal(m.Headers)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO legacy_mails (id, event_id, headers, body, seal_key, event_time, created_at, available_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7)`,
		uuid.Must(uuid.NewV7()).String(), m.ID, string(headers), s.Seal(m.ID, m.Body), s.KeyID(), m.Timestamp, now)
	return err
}

// claim leases the row that has been due for longest until until, of those that keyIDs may open. It returns false when
// none is due and free.
func claim(ctx context.Context, db *database.DB, keyIDs []string, now, until time.Time) (r row, found bool, err error) {
	var eventID, headers string
	var at time.Time
	var body []byte
	args := []any{now, until}
	for _, id := range keyIDs {
		args = append(args, id)
	}
	err = db.Conn(ctx).QueryRowContext(ctx, `
		UPDATE legacy_mails SET lease_until = $2 WHERE id = (
			SELECT id FROM legacy_mails
			WHERE failed_at IS NULL AND available_at <= $1 AND (lease_until IS NULL OR lease_until <= $1)
				AND (seal_key IS NULL OR seal_key IN (`+database.Placeholders(3, len(keyIDs))+`))
			ORDER BY available_at, id LIMIT 1`+db.Dialect().ForUpdateSkipLocked()+`)
		RETURNING id, event_id, headers, body, event_time, lease_until, attempts`, args...).
		Scan(&r.id, &eventID, &headers, &body, &at, &r.leaseUntil, &r.attempts)
	if database.IsNotFound(err) {
		return row{}, false, nil
	}
	if err != nil {
		return row{}, false, fmt.Errorf("legacy: claiming a row: %w", err)
	}
	r.message = copyOf(eventID, at, body, nil)
	r.unreadable = json.Unmarshal([]byte(headers), &r.message.Headers) != nil
	return r, true, nil
}

// errLeaseLost is returned when another relay holds the lease of a row, or has published it.
var errLeaseLost = errors.New("legacy: the lease was lost")

// renew extends the lease of r to until.
func (r *row) renew(ctx context.Context, db *database.DB, until time.Time) error {
	result, err := db.Conn(ctx).ExecContext(ctx, `
		UPDATE legacy_mails SET lease_until = $1 WHERE id = $2 AND lease_until = $3`, until, r.id, r.leaseUntil.UTC())
	if err != nil {
		return fmt.Errorf("legacy: renewing a lease: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, errLeaseLost)
	}
	r.leaseUntil = until
	return nil
}

// release gives r back untouched and due at once: nothing was wrong with it. A row that another relay has leased
// meanwhile is left to it.
func (r *row) release(ctx context.Context, db *database.DB) error {
	_, err := db.Conn(ctx).ExecContext(ctx, `
		UPDATE legacy_mails SET lease_until = NULL WHERE id = $1 AND lease_until = $2`, r.id, r.leaseUntil.UTC())
	return err
}
