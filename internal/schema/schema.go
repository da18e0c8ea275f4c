// Package schema owns the tables: embedded SQL migrations for PostgreSQL and SQLite under the same numbers, applied in
// order and recorded in goose_db_version. Two processes that migrate at once apply each step once: the second waits for
// an advisory lock and finds nothing left to do.
//
// It does not promise a way down from 00001: those tables hold the previous release's data.
package schema

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/smap-platform/identity/pkg/database"
)

//go:embed postgres/*.sql sqlite/*.sql
var migrations embed.FS

// ownVersion is the first step beyond the previous release's tables. It creates the outbox, and replaces the unique
// index on every username by unique indexes on living rows.
const ownVersion = 2

// copiesVersion is the step whose way back keeps every row of the outbox, and returns those it has moved.
const copiesVersion = 6

// Migration is one step, and when it was applied to this database.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// Up applies the pending steps and returns their names. When rows of the previous release are in the way ([Obstacles]),
// it returns an *[ObstaclesError] before it changes anything. A failing step is rolled back and named in the error; the
// steps before it stay.
func Up(ctx context.Context, db *database.DB) ([]string, error) {
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	obstacles, err := Obstacles(ctx, db)
	if err != nil {
		return nil, err
	}
	if len(obstacles) > 0 {
		return nil, &ObstaclesError{obstacles}
	}
	results, err := p.Up(ctx)
	if err != nil {
		// Pods of the previous release keep writing: a row may have come in the way since the check.
		if obstacles, err := Obstacles(ctx, db); err == nil && len(obstacles) > 0 {
			return nil, &ObstaclesError{obstacles}
		}
		return nil, fmt.Errorf("schema: migrating up: %w", err)
	}
	var applied []string
	for _, r := range results {
		applied = append(applied, r.Source.Path)
	}
	return applied, nil
}

// ErrOutboxNotEmpty is returned by [Down] while the outbox holds events that have not been published.
var ErrOutboxNotEmpty = errors.New("schema: the outbox still holds events, which would be lost; let it run empty first")

// Down takes the newest step back and returns its name, "" when there was none. It returns [ErrOutboxNotEmpty] when
// that would lose events in the outbox, and an *[ObstaclesError] when 00002 would restore a constraint that rows break.
func Down(ctx context.Context, db *database.DB) (string, error) {
	p, err := provider(db)
	if err != nil {
		return "", err
	}
	applied, err := history(ctx, db)
	if err != nil || len(applied) == 0 {
		return "", err
	}
	if err := checkRevert(ctx, db, slices.Max(slices.Collect(maps.Keys(applied)))); err != nil {
		return "", err
	}
	result, err := p.Down(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("schema: migrating down: %w", err)
	}
	return result.Source.Path, nil
}

// checkRevert returns an error when taking step version back would lose rows or break a constraint.
func checkRevert(ctx context.Context, db *database.DB, version int64) error {
	if version >= ownVersion && version != copiesVersion {
		var rows int
		if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&rows); err != nil {
			return fmt.Errorf("schema: counting the outbox: %w", err)
		}
		if rows > 0 {
			return ErrOutboxNotEmpty
		}
	}
	if version == ownVersion && db.Dialect() == database.Postgres { // SQLite never had that constraint
		obstacles, err := namesUsedTwice.in(ctx, db)
		if err != nil {
			return err
		}
		if len(obstacles) > 0 {
			return &ObstaclesError{obstacles}
		}
	}
	return nil
}

// Status returns every step in order. It changes nothing.
func Status(ctx context.Context, db *database.DB) ([]Migration, error) {
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	applied, err := history(ctx, db)
	if err != nil {
		return nil, err
	}
	var out []Migration
	for _, s := range p.ListSources() {
		out = append(out, Migration{Version: s.Version, Name: s.Path, AppliedAt: applied[s.Version]})
	}
	return out, nil
}

// Current returns nil when every step that this binary knows has been applied. It ignores steps of a newer release.
func Current(ctx context.Context, db *database.DB) error {
	want, err := latest(db.Dialect())
	if err != nil {
		return err
	}
	// Every health check calls it, so it is one plain query: the tool would create its table where there is none.
	var have int64
	err = db.Conn(ctx).QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&have)
	if err != nil {
		return fmt.Errorf("schema: the database has no migration table (%w); run `api migrate up`", err)
	}
	if have < want {
		return fmt.Errorf("schema: the database is at %d, this release needs %d; run `api migrate up`", have, want)
	}
	return nil
}

// latest returns the newest step that this binary knows.
func latest(dialect database.Dialect) (version int64, err error) {
	files, err := fs.ReadDir(migrations, string(dialect))
	if err != nil {
		return 0, fmt.Errorf("schema: %w", err)
	}
	for _, f := range files {
		v, err := goose.NumericComponent(f.Name())
		if err != nil {
			return 0, fmt.Errorf("schema: %w", err)
		}
		version = max(version, v)
	}
	return version, nil
}

func provider(db *database.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, string(db.Dialect()))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if db.Dialect() == database.SQLite {
		return goose.NewProvider(goose.DialectSQLite3, db.Pool(), files)
	}
	// Try every second for up to five minutes: another process's long migration is no reason to fail a start.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return goose.NewProvider(goose.DialectPostgres, db.Pool(), files, goose.WithSessionLocker(locker))
}
