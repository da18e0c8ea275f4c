package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNoTx is answered by Tx outside a transaction: the caller forgot WithinTx.
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

// WithinTx runs fn in a transaction that travels in the context fn is given; a nested call joins it. It commits
// when fn answers nil, and answers the commit's error; otherwise it rolls back and answers fn's error. The whole
// has a deadline (Options.TxTimeout), and a caller who gives up while it waits for a connection gets his context's
// error. Never do in fn what another system sees: SMTP, HTTP, broker, Redis.
func (db *DB) WithinTx(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	if current(ctx, db) != nil {
		return fn(ctx)
	}
	// The transaction itself ends by commit, rollback or deadline, not by the caller hanging up: a cancellation that
	// arrives during COMMIT would leave us not knowing what happened. Statements in fn still see the cancellation.
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.txTimeout)
	defer cancel()
	// Until it has begun there is nothing to be unsure of, and nobody shall wait for a connection on behalf of a
	// caller who is gone.
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
	committed := false
	defer func() {
		if !committed { // also when fn panics
			_ = conn.Rollback()
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{}, t)); err != nil {
		return err
	}
	if err := conn.Commit(); err != nil {
		return fmt.Errorf("database: commit: %w", err)
	}
	committed = true
	for _, f := range t.afterCommit {
		f()
	}
	return nil
}

// Tx answers the transaction of ctx, or ErrNoTx: for writes that make sense only together with others.
func (db *DB) Tx(ctx context.Context) (Querier, error) {
	if t := current(ctx, db); t != nil {
		return t.sql, nil
	}
	return nil, ErrNoTx
}

// AfterCommit runs f once the transaction of ctx has been committed, never when it is rolled back; outside a
// transaction at once. f must not block.
func (db *DB) AfterCommit(ctx context.Context, f func()) {
	if t := current(ctx, db); t != nil {
		t.afterCommit = append(t.afterCommit, f)
		return
	}
	f()
}
