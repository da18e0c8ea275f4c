package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// List implements [authentication.UserDirectory]. Rows of the previous release without a time come last.
func (r *Users) List(
	ctx context.Context, f authentication.UserFilter,
) (users []authentication.User, total int, err error) {
	const doing = "authentication: listing users"
	condition, args := "TRUE", []any{}
	if len(f.IDs) > 0 {
		ids := make([]string, len(f.IDs))
		for i, id := range f.IDs {
			ids[i] = database.UUID(id)
		}
		all, in := database.In(ids)
		condition, args = "id IN ("+in+")", all
	}
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM users WHERE deleted_at IS NULL AND "+condition, args...).
		Scan(&total)
	if err != nil || total <= f.Offset {
		return nil, total, database.Wrap(doing, err)
	}
	users, err = database.All(ctx, r.db, doing, scanUser, selectUser+condition+
		fmt.Sprintf(" ORDER BY created_at DESC NULLS LAST, id LIMIT %d OFFSET %d", f.Limit, f.Offset), args...)
	return users, total, err
}

// CountByState returns how many users are active, not_verified, disabled and deleted. It reads every row.
func (r *Users) CountByState(ctx context.Context) (map[string]int, error) {
	type group struct {
		state string
		users int
	}
	groups, err := database.All(ctx, r.db, "authentication: counting users", func(row database.Row) (g group, err error) {
		err = row.Scan(&g.state, &g.users)
		return g, err
	}, `SELECT CASE WHEN deleted_at IS NOT NULL THEN 'deleted' WHEN disabled_at IS NOT NULL THEN 'disabled' WHEN is_active IS TRUE THEN 'active' ELSE 'not_verified' END AS state,
	count(*) FROM users GROUP BY 1`)
	counts := map[string]int{"active": 0, "not_verified": 0, "disabled": 0, "deleted": 0}
	for _, g := range groups {
		counts[g.state] = g.users
	}
	return counts, err
}

// UpdateProfile implements [authentication.UserDirectory]. It is one statement, and undoes no other change.
func (r *Users) UpdateProfile(
	ctx context.Context, id string, p authentication.Profile, now time.Time,
) (authentication.User, error) {
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, `UPDATE users
SET full_name = NULLIF(COALESCE($2, full_name), ''), avatar_url = NULLIF(COALESCE($3, avatar_url), ''), updated_at = $4
WHERE id = $1 AND deleted_at IS NULL RETURNING `+userColumns,
		database.UUID(id), p.FullName, p.AvatarURL, database.Truncate(now)))
}
