package database

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/singleflight"
)

// ExecMode is how statements are sent to PostgreSQL.
type ExecMode string

// The modes.
const (
	// ExecCached prepares each statement once per connection. It needs a connection of its own to the server.
	ExecCached ExecMode = "cached"
	// ExecDirect prepares nothing, so that every transaction may run on another connection to the server, as behind a
	// pooler in transaction mode.
	ExecDirect ExecMode = "exec"
)

// A path may die without a reset: a firewall that forgets, a node that is gone, a proxy that hangs.
const (
	// connectTimeout bounds connecting, TLS and login included.
	connectTimeout = 3 * time.Second
	// checkAfter is how long a connection may have been idle and be used unchecked. A check is a round trip, so that a
	// connection is checked ten times a second at most.
	checkAfter = 100 * time.Millisecond
	// checkTimeout is how long the reply to a check may take.
	checkTimeout = time.Second
	// unacknowledged is how long the other side's kernel may leave what was sent without an acknowledgement.
	unacknowledged = 5 * time.Second
)

// keepAlive finds a path that dies while a statement runs: 5 s of silence, then 3 probes in 6 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// openPostgres returns a pool that has not connected yet.
func openPostgres(o Options, writes *lastWrite) (*sql.DB, error) {
	config, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		return nil, errors.New("the connection URL cannot be read") // pgx's error quotes it
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if o.ExecMode == ExecDirect {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, connectTimeout)
	config.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive, Control: limitUnacknowledged}).DialContext
	c := &connector{writes: writes, timeout: cmp.Or(o.StatementTimeout, time.Minute)}
	config.OnPgError = c.keepConnection
	c.hosts = hostsOf(config)
	return sql.OpenDB(c), nil
}

// connector makes the connections of one pool and knows what one of them has learned about all.
type connector struct {
	hosts   []driver.Connector
	writes  *lastWrite
	timeout time.Duration // of a statement whose context has no deadline
	// generation counts checks without a reply, refusals to write and moves to another host. A connection of an earlier generation
	// is of no further use: its path is dead, or leads elsewhere.
	generation atomic.Int64
	// choice among several hosts, which a round makes by asking all of them. Until one succeeds there is none.
	choice atomic.Pointer[choice]
	rounds singleflight.Group
	latest origin // of a host that was chosen; only rounds use it
	// doubted is when a statement got no reply in time, in Unix nanoseconds. A connection last used before is checked.
	doubted atomic.Int64
}

// generationOf is the key under which a connection of pgx has its generation.
const generationOf = "generation"

// keepConnection reports whether a connection is of further use after the server's error e. It is not after a fatal
// error, and not once the server is read-only: a new connection may reach the server that took over. Where there are
// several hosts, no other connection of the pool is of further use then either.
func (c *connector) keepConnection(conn *pgconn.PgConn, e *pgconn.PgError) bool {
	if generation, ok := conn.CustomData()[generationOf].(int64); ok && e.Code == readOnly && len(c.hosts) > 1 {
		c.generation.CompareAndSwap(generation, generation+1) // others of its generation may have told already
	}
	return cmp.Or(e.SeverityUnlocalized, e.Severity) != "FATAL" && e.Code != readOnly
}

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return c.hosts[0].Driver() }

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, generation, err := c.dial(ctx)
	if err != nil {
		return nil, c.mark(err)
	}
	pgx, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("database: the driver returned a %T", conn)
	}
	pgx.Conn().PgConn().CustomData()[generationOf] = generation
	return &postgresConn{Conn: pgx, pool: c, generation: generation, used: time.Now()}, nil
}

// mark returns err as one of the driver's, so that [Explain] knows where it comes from.
func (c *connector) mark(err error) error {
	if err == nil || errors.Is(err, driver.ErrBadConn) { // which database/sql handles
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		c.doubted.Store(time.Now().UnixNano())
	}
	return &driverError{err}
}

// limit returns ctx with a deadline.
func (c *connector) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, limited := ctx.Deadline(); limited {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// driverError is an error of the driver or of the server behind it.
type driverError struct{ error }

// Unwrap returns what the driver returned.
func (e *driverError) Unwrap() error { return e.error }

// postgresConn is a connection of pgx that marks its errors, checks itself before it is used again, and records the
// outcome of writes.
type postgresConn struct {
	*stdlib.Conn
	pool       *connector
	generation int64
	used       time.Time
	inTx       bool
	wrote      bool // in the transaction
}

// ResetSession is called before the connection is used again. It returns [driver.ErrBadConn] when its path is dead.
func (c *postgresConn) ResetSession(ctx context.Context) error {
	if c.generation < c.pool.generation.Load() {
		return driver.ErrBadConn
	}
	if time.Since(c.used) > checkAfter || c.used.UnixNano() <= c.pool.doubted.Load() {
		check, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		if err := c.Conn.Conn().PgConn().Ping(check); err != nil {
			if check.Err() != nil && ctx.Err() == nil {
				c.pool.generation.CompareAndSwap(c.generation, c.generation+1)
			}
			return driver.ErrBadConn
		}
		c.used = time.Now()
	}
	return c.Conn.ResetSession(ctx)
}

// IsValid is called when the connection returns to the pool.
func (c *postgresConn) IsValid() bool {
	c.used = time.Now()
	return !c.Conn.Conn().IsClosed() && c.generation >= c.pool.generation.Load()
}

// ExecContext implements [driver.ExecerContext].
func (c *postgresConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Result, error) {
	ctx, cancel := c.pool.limit(ctx)
	defer cancel()
	result, err := c.Conn.ExecContext(ctx, query, args)
	c.record(query, err)
	return result, c.pool.mark(err)
}

// QueryContext implements [driver.QueryerContext].
func (c *postgresConn) QueryContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Rows, error) {
	ctx, cancel := c.pool.limit(ctx)
	rows, err := c.Conn.QueryContext(ctx, query, args)
	c.record(query, err)
	if err != nil {
		cancel()
		return nil, c.pool.mark(err)
	}
	pgx, ok := rows.(*stdlib.Rows)
	if !ok {
		cancel()
		return nil, fmt.Errorf("database: the driver returned %T", rows)
	}
	return &postgresRows{Rows: pgx, pool: c.pool, cancel: cancel}, nil
}

// BeginTx implements [driver.ConnBeginTx].
func (c *postgresConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.BeginTx(ctx, o)
	if err != nil {
		return nil, c.pool.mark(err)
	}
	c.inTx, c.wrote = true, false
	return &postgresTx{Tx: tx, conn: c}, nil
}

// record keeps the outcome of a write. A write in a transaction has succeeded once that is committed.
func (c *postgresConn) record(query string, err error) {
	switch {
	case !isWrite(query):
	case err != nil:
		c.pool.writes.failed(err)
	case c.inTx:
		c.wrote = true
	default:
		c.pool.writes.succeeded()
	}
}

// isWrite reports whether query changes or locks rows. One that begins otherwise than SELECT is taken for a write.
func isWrite(query string) bool {
	fields := strings.Fields(query)
	return len(fields) > 0 && (!strings.EqualFold(fields[0], "SELECT") || strings.Contains(query, " FOR UPDATE"))
}

// postgresRows are rows whose errors are marked.
type postgresRows struct {
	*stdlib.Rows
	pool   *connector
	cancel context.CancelFunc // of their limit
}

// Close implements [driver.Rows].
func (r *postgresRows) Close() error {
	defer r.cancel()
	return r.Rows.Close()
}

// Next implements [driver.Rows].
func (r *postgresRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if errors.Is(err, io.EOF) { // the end, which database/sql compares with ==
		return err
	}
	return r.pool.mark(err)
}

// postgresTx is a transaction whose errors are marked.
type postgresTx struct {
	driver.Tx
	conn *postgresConn
}

// Commit implements [driver.Tx].
func (t *postgresTx) Commit() error {
	err := t.Tx.Commit()
	t.conn.inTx = false
	switch {
	case err != nil:
		t.conn.pool.writes.failed(err)
	case t.conn.wrote:
		t.conn.pool.writes.succeeded()
	}
	return t.conn.pool.mark(err)
}

// Rollback implements [driver.Tx].
func (t *postgresTx) Rollback() error {
	t.conn.inTx = false
	return t.conn.pool.mark(t.Tx.Rollback())
}
