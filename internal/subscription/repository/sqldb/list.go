package sqldb

import (
	"context"
	"fmt"

	"github.com/smap-platform/identity/pkg/database"
)

// selection is the conditions of a list and their arguments.
type selection struct {
	conditions string
	args       []any
}

// in adds that column has one of values, and nothing when there are none.
func (s *selection) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args, places := database.In(values, s.args...)
	s.conditions += " AND " + column + " IN (" + places + ")"
	s.args = args
}

func uuids(ids []string) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = database.UUID(id)
	}
	return all
}

// list returns a page of what from selects, and how many rows that has.
func list[T any](
	ctx context.Context, db *database.DB, doing string, scan func(database.Row) (T, error),
	columns, from, order string, args []any, limit, offset int,
) (page []T, total int, err error) {
	err = db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) "+from, args...).Scan(&total)
	if err != nil || total <= offset {
		return nil, total, database.Wrap(doing, err)
	}
	page, err = database.All(ctx, db, doing, scan,
		fmt.Sprintf("SELECT %s %s ORDER BY %s LIMIT %d OFFSET %d", columns, from, order, limit, offset), args...)
	return page, total, err
}
