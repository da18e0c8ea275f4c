package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// unused is [authentication.User.Invited] in SQL, of a live or of a deleted row. A row of the previous release can have
// NULL or "" where nothing is. No index fits a CASE, on purpose: right after many were invited PostgreSQL knows nothing
// of them, expects few that are unused, and would search these for every id of a list.
const (
	unused        = `CASE WHEN deleted_at IS NULL AND ` + neverUsed + ` THEN 1 ELSE 0 END = 1`
	unusedDeleted = `CASE WHEN deleted_at IS NOT NULL AND ` + neverUsed + ` THEN 1 ELSE 0 END = 1`
	neverUsed     = `is_active IS NOT TRUE AND COALESCE(password_hash, '') = ''`
)

// rowsPer is how many rows one statement has: on PostgreSQL enough to make the round trip small beside the work, on
// SQLite fewer, because its driver's time grows with the square of the parameters.
func rowsPer(d database.Dialect) int {
	if d == database.SQLite {
		return 20
	}
	return 500
}

// CreateInvited returns the addresses of the users it created. It returns database.ErrNoTx outside a transaction.
func (r *Users) CreateInvited(ctx context.Context, users []authentication.User) ([]string, error) {
	tx, err := r.db.Tx(ctx)
	if err != nil {
		return nil, err
	}
	const columns = 6
	created := make([]string, 0, len(users))
	for chunk := range slices.Chunk(users, rowsPer(r.db.Dialect())) {
		args := make([]any, 0, len(chunk)*columns)
		for _, u := range chunk {
			args = append(args, u.ID, u.Email, roleHash(u.Role), false, truncate(u.CreatedAt), truncate(u.UpdatedAt))
		}
		rows, err := tx.QueryContext(ctx, `INSERT INTO users (id, username, role_hash, is_active, created_at, updated_at)
VALUES `+database.Rows(len(chunk), columns)+" ON CONFLICT DO NOTHING RETURNING username", args...)
		if err != nil {
			return nil, wrap("creating invited users", err)
		}
		if created, err = appendTexts(created, rows); err != nil {
			return nil, wrap("creating invited users", err)
		}
	}
	return created, nil
}

// appendTexts appends the only column of rows, and closes them.
func appendTexts(texts []string, rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, rows.Err()
}

// DeleteInvited deletes as the previous release does: the row stays, with the time in deleted_at.
func (r *Users) DeleteInvited(ctx context.Context, ids []string, now time.Time) (int64, error) {
	return r.execIDs(ctx, "UPDATE users SET deleted_at = $1, updated_at = $1 WHERE "+unused,
		[]any{truncate(now)}, ids)
}

// EraseInvited removes the rows that DeleteInvited has left.
func (r *Users) EraseInvited(ctx context.Context, ids []string) error {
	_, err := r.execIDs(ctx, "DELETE FROM users WHERE "+unusedDeleted, nil, ids)
	return err
}

// execIDs executes a statement for the users with these ids and returns how many rows it changed.
func (r *Users) execIDs(ctx context.Context, statement string, args []any, ids []string) (changed int64, err error) {
	for chunk := range slices.Chunk(ids, rowsPer(r.db.Dialect())) {
		args := slices.Clone(args)
		for _, id := range chunk {
			args = append(args, id)
		}
		in := " AND id IN (" + database.Placeholders(1+len(args)-len(chunk), len(chunk)) + ")"
		result, err := r.db.Conn(ctx).ExecContext(ctx, statement+in, args...)
		if err != nil {
			return changed, wrap("deleting invited users", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return changed, wrap("deleting invited users", err)
		}
		changed += n
	}
	return changed, nil
}
