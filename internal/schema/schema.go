// Package schema owns the tables: embedded SQL migrations for PostgreSQL and SQLite under the same numbers, applied in
// order and recorded in goose_db_version. Two processes that migrate at once apply each step once: the second waits for
// a lease in the table goose_lock and finds nothing left to do. A lease works behind a pooler in transaction mode, where an
// advisory lock stays with some connection to the server.
//
// It does not promise a way down from 00001: those tables hold the previous release's data.
package schema

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/smap-platform/identity/pkg/database"
)

//go:embed postgres/*.sql sqlite/*.sql
var migrations embed.FS

// ownVersion is the first step beyond the previous release's tables. It creates the outbox, and replaces the unique
// index on every username by unique indexes on living rows.
const ownVersion = 2

// copiesVersion is the first step whose way back keeps every row of the outbox. It returns those it has moved.
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
//
// Without pending steps it writes nothing, so that a process starts on a read-only server.
func Up(ctx context.Context, db *database.DB) ([]string, error) {
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	if pending, err := hasPending(ctx, db, p); err != nil || !pending {
		return nil, err
	}
	if err := refuse(Obstacles(ctx, db)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	results, err := p.Up(ctx)
	if err != nil {
		// Pods of the previous release keep writing: a row may have come in the way since the check.
		if refused, ok := errors.AsType[*ObstaclesError](refuse(Obstacles(ctx, db))); ok {
			return nil, refused
		}
		return nil, explain("migrating up", db, err)
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
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	result, err := p.Down(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) {
		return "", nil
	}
	if err != nil {
		return "", explain("migrating down", db, err)
	}
	return result.Source.Path, nil
}

// explain returns the migration tool's error with the state of the database in front of it: what the tool returns may be
// a consequence only.
func explain(doing string, db *database.DB, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if state := db.Check(ctx, nil); state != nil {
		return fmt.Errorf("schema: %s: %w: %w", doing, state, err)
	}
	return fmt.Errorf("schema: %s: %w", doing, err)
}

// checkRevert returns an error when taking step version back would lose rows or break a constraint.
func checkRevert(ctx context.Context, db *database.DB, version int64) error {
	if version >= ownVersion && version < copiesVersion {
		var rows int
		if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&rows); err != nil {
			return fmt.Errorf("schema: counting the outbox: %w", err)
		}
		if rows > 0 {
			return ErrOutboxNotEmpty
		}
	}
	if version == ownVersion && db.Dialect() == database.Postgres { // SQLite never had that constraint
		return refuse(namesUsedTwice.in(ctx, db))
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

// hasPending reports whether Up has a step to apply.
func hasPending(ctx context.Context, db *database.DB, p *goose.Provider) (bool, error) {
	applied, err := history(ctx, db)
	return slices.ContainsFunc(p.ListSources(), func(s *goose.Source) bool { return applied[s.Version].IsZero() }), err
}

// ErrPending is in the error of [Current] when steps have to be applied.
var ErrPending = errors.New("run `api migrate up`")

// Current returns nil when every step that this binary knows has been applied. It ignores steps of a newer release. Its
// error has no text of the server.
func Current(ctx context.Context, db *database.DB) error {
	want, err := latest(db.Dialect())
	if err != nil {
		return err
	}
	// Every health check calls it, so it is one plain query: the tool would create its table where there is none.
	var have int64
	err = db.Conn(ctx).QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&have)
	switch {
	case database.IsMissing(err):
		return fmt.Errorf("schema: the database has no migration table, or search_path or a right on its schema hides it; %w",
			ErrPending)
	case err != nil:
		return &database.CheckError{Readable: true, Reasons: []string{database.Reason(err)}}
	case have < want:
		return fmt.Errorf("schema: the database is at %d, this release needs %d; %w", have, want, ErrPending)
	}
	return nil
}

// latest returns the newest step that this binary knows.
func latest(dialect database.Dialect) (version int64, err error) {
	files, err := fs.ReadDir(migrations, string(dialect))
	if err != nil {
		return 0, fmt.Errorf("schema: %w", err)
	}
	version, err = goose.NumericComponent(files[len(files)-1].Name()) // numbers have leading zeros
	if err != nil {
		return 0, fmt.Errorf("schema: %w", err)
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
	// Try every second for up to five minutes: another process's long migration is no reason to fail a start. A process
	// that was killed holds up the others for no longer than its lease.
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableLockTimeout(time.Second, 300),
		lock.WithTableUnlockTimeout(time.Second, 5),
		lock.WithTableLeaseDuration(lease),
		lock.WithTableHeartbeatInterval(lease/6),
		lock.WithTableRetryPolicy(isHeld),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)), // its errors are returned
	)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return goose.NewProvider(goose.DialectPostgres, db.Pool(), files, goose.WithLocker(locker))
}

// longest bounds a migration. Without it each statement would have the limit of [database.Options].
const longest = 12 * time.Hour

// lease is how long a process that migrates holds the others up after its death.
const lease = 15 * time.Second

// isHeld reports whether the locker's error means that another process migrates, that it has won a race for the lease, or
// that the connection was lost: any other refusal of the server stays one.
func isHeld(err error) bool {
	_, refused := errors.AsType[*pgconn.PgError](err)
	return !refused || database.IsConflict(err)
}
