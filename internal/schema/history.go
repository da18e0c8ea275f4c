package schema

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// history returns the steps that were applied to this database, and when. It changes nothing: the migration tool would
// create its table where there is none, and wait for a process that migrates.
func history(ctx context.Context, db *database.DB) (map[int64]time.Time, error) {
	exists, err := hasTable(ctx, db, "goose_db_version")
	if err != nil || !exists {
		return nil, err
	}
	rows, err := db.Conn(ctx).QueryContext(ctx, "SELECT version_id, tstamp FROM goose_db_version WHERE is_applied")
	if err != nil {
		return nil, fmt.Errorf("schema: reading the migration table: %w", err)
	}
	defer rows.Close()
	applied := map[int64]time.Time{}
	for err == nil && rows.Next() {
		var version int64
		var at time.Time
		err = rows.Scan(&version, &at)
		applied[version] = at
	}
	if err := cmp.Or(err, rows.Err()); err != nil {
		return nil, fmt.Errorf("schema: reading the migration table: %w", err)
	}
	return applied, nil
}

func hasTable(ctx context.Context, db *database.DB, name string) (exists bool, err error) {
	query := "SELECT to_regclass($1) IS NOT NULL"
	if db.Dialect() == database.SQLite {
		query = "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = $1"
	}
	if err := db.Conn(ctx).QueryRowContext(ctx, query, name).Scan(&exists); err != nil {
		return false, fmt.Errorf("schema: looking for table %s: %w", name, err)
	}
	return exists, nil
}
