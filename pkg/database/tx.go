package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNoTx is returned by [DB.Tx] outside a transaction: the caller forgot [DB.WithinTx].
var ErrNoTx = errors.New("database: this write must be part of a transaction; wrap the use case in WithinTx")

type txKey struct{}

type tx struct {
	pool        *sql.DB
	sql         *sql.Tx
	afterCommit []func()
}

func current(ctx context.Context, db *DB) *tx {
	if t, ok := ctx.Value(txKey{}).(*tx); ok && t.pool == db.pool {
		return t
	}
	return nil
}

// WithinTx runs fn in a transaction that travels in fn's context. A nested call joins it.
//
// It commits when fn returns nil, and returns the commit's error. Otherwise it rolls back and returns fn's error. The
// whole has a deadline (Options.TxTimeout). When ctx ends while WithinTx waits for a connection, it returns ctx's
// error.
//
// Never do in fn what another system sees: SMTP, HTTP, broker, Redis.
func (db *DB) WithinTx(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	if current(ctx, db) != nil {
		return fn(ctx)
	}
	// The transaction ends by commit, rollback or deadline, not by the caller's cancellation: one that arrives during
	// COMMIT would leave the outcome unknown. Statements in fn still see the cancellation.
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.txTimeout)
	defer cancel()
	// Before the transaction has begun there is no outcome to lose, so a cancellation ends the wait for a connection.
	stillWanted := context.AfterFunc(ctx, cancel)
	conn, err := db.pool.BeginTx(life, nil)
	if !stillWanted() && err == nil {
		_ = conn.Rollback()
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("database: begin: %w", cmp.Or(ctx.Err(), err))
	}
	deadline, _ := life.Deadline()
	ctx, cancelFn := context.WithDeadline(ctx, deadline)
	defer cancelFn()
	t := &tx{pool: db.pool, sql: conn}
	defer func() { _ = conn.Rollback() }() // after an error and after a panic; once committed it does nothing
	if err := fn(context.WithValue(ctx, txKey{}, t)); err != nil {
		return err
	}
	if err := conn.Commit(); err != nil {
		return fmt.Errorf("database: commit: %w", err)
	}
	for _, f := range t.afterCommit {
		f()
	}
	return nil
}

// WithinTxRetry is [DB.WithinTx] that runs fn once more, in a new transaction, when the first lost a race: after a
// serialization failure, a deadlock or a lock timeout. fn has to assign what it captures and must not add to it, so that
// its first run leaves nothing behind. In a transaction that is under way it runs fn once: the outermost call repeats.
func (db *DB) WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error {
	err := db.WithinTx(ctx, fn)
	if current(ctx, db) == nil && IsConflict(err) {
		return db.WithinTx(ctx, fn)
	}
	return err
}

// Tx returns the transaction of ctx, or [ErrNoTx]. It is for writes that make sense only together with others.
func (db *DB) Tx(ctx context.Context) (Querier, error) {
	if t := current(ctx, db); t != nil {
		return db.watched(t.sql), nil
	}
	return nil, ErrNoTx
}

// AfterCommit runs f once the transaction of ctx has been committed, and never when it is rolled back. Outside a
// transaction it runs f at once. f must not block.
func (db *DB) AfterCommit(ctx context.Context, f func()) {
	if t := current(ctx, db); t != nil {
		t.afterCommit = append(t.afterCommit, f)
		return
	}
	f()
}
