// Package sqldb stores the record in PostgreSQL or SQLite. A trigger of the database keeps every other change of an entry
// than the removal of its details from everybody.
package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/pkg/database"
)

// Entries is an [audit.Repository]. It is safe for concurrent use.
type Entries struct{ db *database.DB }

// NewEntries returns a repository on db.
func NewEntries(db *database.DB) *Entries { return &Entries{db} }

const columns = `id, at, action, outcome, actor_id, operator, user_id, subject_id, request_id, address, ip_address, user_agent, reason`

// Append returns database.ErrNoTx outside a transaction.
func (r *Entries) Append(ctx context.Context, e audit.Entry) error {
	_, err := r.db.ExecTx(ctx, "audit: recording", "INSERT INTO audit_entries ("+columns+`)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
		e.ID, database.Truncate(e.At), string(e.Action), string(e.Outcome), nullID(e.ActorID), null(e.Operator),
		nullID(e.UserID), null(e.SubjectID), null(e.RequestID), null(e.Address), null(e.IP), null(e.Agent), null(e.Reason))
	return err
}

// List returns the newest first.
func (r *Entries) List(ctx context.Context, f audit.Filter) (entries []audit.Entry, total int, err error) {
	where, args := selecting(f)
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM audit_entries WHERE "+where, args...).Scan(&total)
	if err != nil || total <= f.Offset {
		return nil, total, database.Wrap(doing, err)
	}
	entries, err = database.All(ctx, r.db, doing, scan, "SELECT "+columns+" FROM audit_entries WHERE "+where+
		fmt.Sprintf(" ORDER BY at DESC, id DESC LIMIT %d OFFSET %d", f.Limit, f.Offset), args...)
	return entries, total, err
}

const doing = "audit: reading entries"

// selecting returns the condition of the entries that f selects.
func selecting(f audit.Filter) (where string, args []any) {
	where = "TRUE"
	add := func(condition string, given bool, arg any) {
		if given {
			args = append(args, arg)
			where += fmt.Sprintf(" AND %s $%d", condition, len(args))
		}
	}
	add("user_id =", f.UserID != "", database.UUID(f.UserID))
	add("actor_id =", f.ActorID != "", database.UUID(f.ActorID))
	add("action =", f.Action != "", string(f.Action))
	add("operator =", f.Operator != "", f.Operator)
	add("subject_id =", f.SubjectID != "", f.SubjectID)
	add("at >=", !f.Since.IsZero(), database.Truncate(f.Since))
	add("at <", !f.Until.IsZero(), database.Truncate(f.Until))
	return where, args
}

// Behind returns up to f.Limit of the entries that f selects, the newest first, behind the one of that time and id; a zero
// time is before the first. It counts none, so that its cost does not grow with the record.
func (r *Entries) Behind(ctx context.Context, f audit.Filter, at time.Time, id string) ([]audit.Entry, error) {
	where, args := selecting(f)
	if !at.IsZero() {
		args = append(args, database.Truncate(at), database.UUID(id))
		where += fmt.Sprintf(" AND (at, id) < ($%d, $%d)", len(args)-1, len(args))
	}
	return database.All(ctx, r.db, doing, scan, "SELECT "+columns+" FROM audit_entries WHERE "+where+
		fmt.Sprintf(" ORDER BY at DESC, id DESC LIMIT %d", f.Limit), args...)
}

// hasDetails is the condition of entries that have any; the index audit_details is on it.
const hasDetails = "(address IS NOT NULL OR ip_address IS NOT NULL OR user_agent IS NOT NULL OR reason IS NOT NULL)"

// PurgeDetails removes the details of entries older than then.
func (r *Entries) PurgeDetails(ctx context.Context, then time.Time) (int64, error) {
	return r.db.Purge(ctx, "audit: removing old details", database.Purge{
		Table: "audit_entries", Key: "id", Oldest: "at", Where: "at < $1 AND " + hasDetails,
		Set: "address = NULL, ip_address = NULL, user_agent = NULL, reason = NULL",
	}, database.Truncate(then))
}

// EraseUser removes all details of the entries about a user, and of those before then that name the address; and from where
// the user did something to others.
func (r *Entries) EraseUser(ctx context.Context, userID, address string, then time.Time) error {
	const doing = "audit: erasing details"
	_, err := r.db.ExecTx(ctx, doing, `UPDATE audit_entries
SET address = NULL, ip_address = NULL, user_agent = NULL, reason = NULL WHERE user_id = $1 AND `+hasDetails, database.UUID(userID))
	if err != nil {
		return err
	}
	_, err = r.db.ExecTx(ctx, doing, `UPDATE audit_entries SET ip_address = NULL, user_agent = NULL
WHERE actor_id = $1 AND (ip_address IS NOT NULL OR user_agent IS NOT NULL)`, database.UUID(userID))
	if err != nil || address == "" {
		return err
	}
	for _, named := range []string{ // each has an index
		"address IS NOT NULL AND lower(address) = lower($2)",
		"reason IS NOT NULL AND replace(lower(reason), lower($2), '') <> lower(reason)",
	} {
		if _, err = r.db.ExecTx(ctx, doing, `UPDATE audit_entries
SET address = NULL, ip_address = NULL, user_agent = NULL, reason = NULL WHERE at < $1 AND `+named,
			database.Truncate(then), address); err != nil {
			return err
		}
	}
	return nil
}

func scan(row database.Row) (e audit.Entry, err error) {
	var actor, operator, user, subject, request, address, ip, agent, reason sql.NullString
	err = row.Scan(&e.ID, database.UTC(&e.At), &e.Action, &e.Outcome, &actor, &operator, &user, &subject, &request,
		&address, &ip, &agent, &reason)
	e.ActorID, e.Operator, e.UserID = actor.String, operator.String, user.String
	e.SubjectID, e.RequestID = subject.String, request.String
	e.Details = audit.Details{Address: address.String, IP: ip.String, Agent: agent.String, Reason: reason.String}
	return e, err
}

func null(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

func nullID(id string) sql.NullString {
	if id == "" {
		return sql.NullString{}
	}
	return null(database.UUID(id))
}
