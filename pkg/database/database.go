package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // registers "sqlite"
)

// Options of a pool. Zero values take the defaults in brackets.
type Options struct {
	Dialect   Dialect
	DSN       string        // PostgreSQL: connection URL; SQLite: path of the file
	MaxConns  int           // [20] PostgreSQL only: SQLite always has one connection
	TxTimeout time.Duration // [5 s] the longest a transaction may take, waiting for a connection included
	ExecMode  ExecMode      // [ExecCached] PostgreSQL only
	// StatementTimeout is the limit of a statement whose context has no deadline, its rows included: a path can die without
	// a reset while the server's reply is awaited. [1 min] PostgreSQL only
	StatementTimeout time.Duration
	// Watch is called after each statement that has changed rows, with the statement. [nobody watches]
	Watch func(ctx context.Context, statement string)
}

// DB is a pool with its dialect. It is safe for concurrent use.
type DB struct {
	pool      *sql.DB
	dialect   Dialect
	txTimeout time.Duration
	writes    *lastWrite
	watch     func(ctx context.Context, statement string)
}

// Open returns a pool that has not connected yet. Ping connects, so that a caller can wait for the database.
func Open(o Options) (*DB, error) {
	db := &DB{dialect: o.Dialect, txTimeout: cmp.Or(o.TxTimeout, 5*time.Second), writes: &lastWrite{}, watch: o.Watch}
	maxConns := cmp.Or(o.MaxConns, 20)
	var err error
	if o.Dialect == SQLite {
		// immediate: a transaction that reads first and writes later must not fail with SQLITE_BUSY at the write.
		// synchronous(NORMAL) in WAL mode survives a killed process; a power cut may cost the last commits.
		// Escaped, because SQLite reads it as a URI: a folder may be called "50% #1".
		dsn := "file:" + (&url.URL{Path: o.DSN}).EscapedPath() +
			"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)" +
			"&_pragma=foreign_keys(1)&_txlock=immediate&_time_format=sqlite"
		maxConns = 1
		db.pool, err = sql.Open("sqlite", dsn)
	} else {
		db.pool, err = openPostgres(o, db.writes)
	}
	if err != nil {
		return nil, fmt.Errorf("database: invalid connection settings: %w", err)
	}
	db.pool.SetMaxOpenConns(maxConns)
	db.pool.SetMaxIdleConns(maxConns)
	db.pool.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// WithTxTimeout returns the same pool with another limit for transactions, for the few that do the work of many.
// Repositories on either join the transactions of the other.
func (db *DB) WithTxTimeout(d time.Duration) *DB {
	other := *db
	other.txTimeout = d
	return &other
}

// Ping returns nil when the database can be read now.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.pool.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Close closes the pool; transactions in flight end with an error.
func (db *DB) Close() error { return db.pool.Close() }

// Dialect returns the engine of the pool.
func (db *DB) Dialect() Dialect { return db.dialect }

// Pool returns the bare pool, for the migration tool only. Queries go through [DB.Conn], which knows the transaction.
func (db *DB) Pool() *sql.DB { return db.pool }

// Querier is what a repository needs of a pool or a transaction.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Conn returns the transaction of ctx, or the pool when there is none. Every repository method starts here: a statement
// that bypassed it would not be part of its caller's transaction, and on SQLite would wait for it.
func (db *DB) Conn(ctx context.Context) Querier {
	if t := current(ctx, db); t != nil {
		return db.watched(t.sql)
	}
	return db.watched(db.pool)
}

// watched returns q, or q with its changes reported where they are watched.
func (db *DB) watched(q Querier) Querier {
	if db.watch == nil {
		return q
	}
	return watcher{q, db.watch}
}

// watcher reports the statements that have changed rows.
type watcher struct {
	Querier
	seen func(ctx context.Context, statement string)
}

// ExecContext implements [Querier].
func (w watcher) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := w.Querier.ExecContext(ctx, query, args...)
	if err == nil {
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			w.seen(ctx, query)
		}
	}
	return result, err
}

// IsNotFound reports whether err means that a query returned no row.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }
