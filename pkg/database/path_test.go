package database_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// proxy passes connections to a server, until they are frozen: then it accepts what is sent and passes nothing on.
type proxy struct {
	net.Listener
	mu     sync.Mutex
	frozen chan struct{} // closed for the connections made so far
	opened []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{Listener: listener, frozen: make(chan struct{})}
	var done sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		for _, client := range p.opened {
			_ = client.Close()
		}
		done.Wait()
	})
	done.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			frozen := p.frozen
			p.opened = append(p.opened, client)
			p.mu.Unlock()
			done.Go(func() { pass(server, client, frozen) })
			done.Go(func() { pass(client, server, frozen) })
		}
	})
	return p
}

func pass(to, from net.Conn, frozen <-chan struct{}) {
	defer func() { _ = from.Close() }()
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-frozen:
			_, _ = io.Copy(io.Discard, from) // until the other end closes
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// freeze ends every path that is open, without a reset.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.opened)
}

// behindProxy returns a pool of size connections, all of which are open and idle.
func behindProxy(t *testing.T, dsn string, size int) (*database.DB, *proxy) {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	p := newProxy(t, u.Host)
	u.Host = p.Addr().String()
	db := open(t, database.Options{Dialect: database.Postgres, DSN: u.String(), MaxConns: size})
	var inUse, all sync.WaitGroup
	inUse.Add(size)
	for range size {
		all.Go(func() {
			_ = db.WithinTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Exec(ctx, "opening", "SELECT 1")
				inUse.Done()
				inUse.Wait() // each holds a connection until all do
				return err
			})
		})
	}
	all.Wait()
	require.Equal(t, size, p.connections())
	return db, p
}

func TestDeadPath(t *testing.T) {
	t.Parallel()
	t.Run("costs one caller a second, whatever the size of the pool", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			const size = 10
			db, p := behindProxy(t, dsn, size)
			idle := time.Now()
			require.Eventually(t, func() bool { return time.Since(idle) > 150*time.Millisecond }, time.Minute, time.Millisecond,
				"a connection in constant use is not checked")
			p.freeze()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			began := time.Now()
			for range 2 * size {
				require.NoError(t, db.Ping(ctx))
				require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error { return db.Ping(ctx) }))
			}
			require.Less(t, time.Since(began), 5*time.Second)
			require.Greater(t, p.connections(), size)
		})
	})

	t.Run("that is found by a statement leaves the others their deadline", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, dsn string) {
			db, p := behindProxy(t, dsn, 5)
			short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err := db.WithinTx(short, func(ctx context.Context) error {
				p.freeze()
				_, err := db.Exec(ctx, "reading", "SELECT 1")
				return err
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
			began := time.Now()
			for range 10 {
				require.NoError(t, db.Ping(t.Context()))
			}
			require.Less(t, time.Since(began), 5*time.Second)
		})
	})

	t.Run("of a server that never replies ends within the time to connect", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, no server replies
		require.NoError(t, err)
		t.Cleanup(func() { _ = silent.Close() })
		db := open(t, database.Options{
			Dialect: database.Postgres, DSN: "postgres://nobody@" + silent.Addr().String() + "/none?sslmode=disable",
		})
		began := time.Now()
		err = db.Ping(t.Context())
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
		require.Equal(t, "does not respond in time", database.Reason(err))
		require.Less(t, time.Since(began), 10*time.Second)
	})
}
