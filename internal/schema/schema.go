// Package schema owns the tables: embedded SQL migrations for PostgreSQL and SQLite under the same numbers, applied
// in order and recorded in goose_db_version. Two processes that migrate at once do it once: the second waits for
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

// ownVersion is the first step beyond the previous release's tables. It creates the outbox, and brings unique indexes on
// living rows in place of the one on every username.
const ownVersion = 2

// movesRows is the step whose way back keeps every row of the outbox, and adds those it has moved.
const movesRows = 6

// Migration is one step and whether this database has taken it.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// Up applies what is pending and returns what it applied. Rows of the previous release that are in the way (Obstacles)
// are an *ObstaclesError before anything is changed. A failing step is rolled back and named in the error; the steps
// before it stay.
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
		// Pods of the previous release go on writing: a row may have come in the way after the look.
		if obstacles, lookErr := Obstacles(ctx, db); lookErr == nil && len(obstacles) > 0 {
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

// ErrOutboxNotEmpty is returned by Down while there are events that have not left.
var ErrOutboxNotEmpty = errors.New("schema: the outbox still holds events, which would be lost; let it run empty first")

// Down takes the newest step back and returns its name, "" when there was none. It refuses to change an outbox that is
// not empty (ErrOutboxNotEmpty) where that would lose what is in it, and to take 00002 back while names have been used twice (*ObstaclesError): the previous
// release's constraint would not have it.
func Down(ctx context.Context, db *database.DB) (string, error) {
	p, err := provider(db)
	if err != nil {
		return "", err
	}
	taken, err := history(ctx, db)
	if err != nil || len(taken) == 0 {
		return "", err
	}
	if err := mayTakeBack(ctx, db, slices.Max(slices.Collect(maps.Keys(taken)))); err != nil {
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

func mayTakeBack(ctx context.Context, db *database.DB, version int64) error {
	if version >= ownVersion && version != movesRows {
		var rows int
		if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&rows); err != nil {
			return fmt.Errorf("schema: looking into the outbox: %w", err)
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

// Status returns every step in order. It only looks.
func Status(ctx context.Context, db *database.DB) ([]Migration, error) {
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	taken, err := history(ctx, db)
	if err != nil {
		return nil, err
	}
	var out []Migration
	for _, s := range p.ListSources() {
		out = append(out, Migration{Version: s.Version, Name: s.Path, AppliedAt: taken[s.Version]})
	}
	return out, nil
}

// Current returns nil when every step this binary knows has been taken; steps of a newer release do not disturb it.
func Current(ctx context.Context, db *database.DB) error {
	want, err := latest(db.Dialect())
	if err != nil {
		return err
	}
	// Asked by every health check, so it is one plain query: the tool would create its table where there is none.
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

// latest is the newest step this binary knows.
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
	// Probing every second for up to five minutes: a neighbour's long migration is no reason to fail a start.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return goose.NewProvider(goose.DialectPostgres, db.Pool(), files, goose.WithSessionLocker(locker))
}
