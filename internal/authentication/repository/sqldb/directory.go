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

// UpdateProfile implements [authentication.UserDirectory]. It is one statement, and undoes no other change.
func (r *Users) UpdateProfile(
	ctx context.Context, id string, p authentication.Profile, now time.Time,
) (authentication.User, error) {
	return scanUser(r.db.Conn(ctx).QueryRowContext(ctx, `UPDATE users
SET full_name = NULLIF(COALESCE($2, full_name), ''), avatar_url = NULLIF(COALESCE($3, avatar_url), ''), updated_at = $4
WHERE id = $1 AND deleted_at IS NULL RETURNING `+userColumns,
		database.UUID(id), p.FullName, p.AvatarURL, database.Truncate(now)))
}
