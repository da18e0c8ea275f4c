package database_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/database"
)

// server speaks as much of PostgreSQL's protocol as a pool needs. It takes writes unless it is a standby.
type server struct {
	listener  net.Listener
	standby   atomic.Bool
	down      atomic.Bool  // it ends every connection
	timeline  atomic.Int64 // 0: it does not know its own
	ending    atomic.Bool  // it ends connections that ask for it
	connected atomic.Int64
	written   atomic.Int64

	mu     sync.Mutex
	open   []net.Conn
	frozen sync.RWMutex // held while it replies to nothing
	silent sync.RWMutex // held while it does not say its timeline
}

func newServer(t *testing.T, standby bool) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{listener: listener}
	s.standby.Store(standby)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			s.connected.Add(1)
			s.mu.Lock()
			s.open = append(s.open, client)
			s.mu.Unlock()
			go s.serve(client)
		}
	}()
	t.Cleanup(s.kill)
	return s
}

// kill ends the server and its connections, as a killed process does.
func (s *server) kill() {
	_ = s.listener.Close()
	s.crash()
}

// crash ends all connections, and each new one until it is no longer down.
func (s *server) crash() {
	s.down.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
}

func (s *server) serve(client net.Conn) {
	if s.down.Load() {
		_ = client.Close()
		return
	}
	b := pgproto3.NewBackend(client, client)
	pass(&s.frozen)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		pass(&s.frozen)
		if query, ok := m.(*pgproto3.Query); ok { // statements without arguments come as these
			s.reply(b, query.String)
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

// pass waits until nobody holds the lock.
func pass(lock *sync.RWMutex) {
	lock.RLock()
	defer lock.RUnlock()
}

func (s *server) reply(b *pgproto3.Backend, query string) {
	if strings.HasPrefix(query, "SELECT system_identifier") {
		pass(&s.silent)
	}
	switch {
	case query == "show transaction_read_only":
		sendRow(b, map[bool]string{true: "on", false: "off"}[s.standby.Load()])
	case strings.HasPrefix(query, "SELECT system_identifier") && s.ending.Load():
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01"})
	case strings.HasPrefix(query, "SELECT system_identifier") && s.timeline.Load() == 0:
		b.Send(&pgproto3.ErrorResponse{Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: "42501"})
	case strings.HasPrefix(query, "SELECT system_identifier"):
		sendRow(b, "7712996117361101632", fmt.Sprintf("%08X", s.timeline.Load()))
	case strings.HasPrefix(query, "INSERT") && s.standby.Load():
		b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "25006"})
	case strings.HasPrefix(query, "INSERT"):
		s.written.Add(1)
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
	default:
		b.Send(&pgproto3.EmptyQueryResponse{})
	}
}

// sendRow sends a row of texts.
func sendRow(b *pgproto3.Backend, texts ...string) {
	var (
		fields []pgproto3.FieldDescription
		values [][]byte
	)
	for _, text := range texts {
		fields, values = append(fields, pgproto3.FieldDescription{Name: []byte("text"), DataTypeOID: 25}), append(values, []byte(text))
	}
	b.Send(&pgproto3.RowDescription{Fields: fields})
	b.Send(&pgproto3.DataRow{Values: values})
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
}

func openHosts(t *testing.T, servers ...*server) *database.DB {
	t.Helper()
	var hosts, ports []string
	for _, s := range servers {
		host, port, err := net.SplitHostPort(s.listener.Addr().String())
		require.NoError(t, err)
		hosts, ports = append(hosts, host), append(ports, port)
	}
	db, err := database.Open(database.Options{
		Dialect: database.Postgres, ExecMode: database.ExecDirect,
		DSN: fmt.Sprintf("postgres://u:hunter2@/d?sslmode=disable&target_session_attrs=read-write&host=%s&port=%s",
			strings.Join(hosts, ","), strings.Join(ports, ",")),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func write(t *testing.T, db *database.DB) error {
	t.Helper()
	return writeWithin(t.Context(), db)
}

func writeWithin(ctx context.Context, db *database.DB) error {
	_, err := db.Conn(ctx).ExecContext(ctx, "INSERT INTO things VALUES (1)")
	return err
}

func TestHosts(t *testing.T) {
	t.Parallel()
	t.Run("are used as soon as they take writes, in any order", func(t *testing.T) {
		t.Parallel()
		standby, primary := newServer(t, true), newServer(t, false)
		db := openHosts(t, standby, primary)
		require.NoError(t, write(t, db))
		require.NoError(t, write(t, db))
		db.Pool().SetMaxIdleConns(0) // a new connection each time
		require.NoError(t, write(t, db))
		require.NoError(t, write(t, db))
		require.Equal(t, int64(1), standby.connected.Load(), "the host that was chosen is asked, and no other")
	})

	t.Run("are left for another when they are gone", func(t *testing.T) {
		t.Parallel()
		first, second := newServer(t, false), newServer(t, true)
		db := openHosts(t, first, second)
		require.NoError(t, write(t, db))
		first.kill()
		err := write(t, db)
		require.Error(t, err)
		require.Contains(t, []string{"has no server among POSTGRES_HOST that takes writes", "cannot be reached"}, database.Reason(err))
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
		require.NotContains(t, err.Error(), "hunter2")
		second.standby.Store(false) // promoted
		require.Eventually(t, func() bool { return write(t, db) == nil }, 10*time.Second, time.Millisecond)
	})

	t.Run("are left for another by every connection when one learns that they no longer take writes", func(t *testing.T) {
		t.Parallel()
		first, second := newServer(t, false), newServer(t, true)
		db := openHosts(t, first, second)
		held := make([]*sql.Conn, 3)
		for i := range held {
			var err error
			held[i], err = db.Pool().Conn(t.Context())
			require.NoError(t, err)
		}
		for _, conn := range held {
			require.NoError(t, conn.Close())
		}
		require.Equal(t, int64(1+3), first.connected.Load(), "one for the choice")
		first.standby.Store(true)
		second.standby.Store(false)
		require.Error(t, write(t, db), "the first one learns it")
		for range 3 {
			require.NoError(t, write(t, db), "and no other one fails")
		}
		require.Positive(t, second.connected.Load())
	})

	t.Run("of which several take writes: the one that was promoted last is used", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			timelines [3]int64
			used      int
		}{
			{[3]int64{2, 3, 1}, 1},
			{[3]int64{2, 10, 9}, 1}, // they are hexadecimal
			{[3]int64{0, 0, 0}, 0},  // the first of the list, when none knows
			{[3]int64{2, 0, 3}, 1},  // one that does not know is not known to have been replaced
		} {
			servers := make([]*server, len(c.timelines))
			for i, timeline := range c.timelines {
				servers[i] = newServer(t, false)
				servers[i].timeline.Store(timeline)
			}
			require.NoError(t, write(t, openHosts(t, servers...)))
			require.Equal(t, int64(1), servers[c.used].written.Load(), "%v", c.timelines)
		}
	})

	t.Run("are not left for a primary that was replaced", func(t *testing.T) {
		t.Parallel()
		promoted, replaced := newServer(t, false), newServer(t, false)
		promoted.timeline.Store(3)
		replaced.timeline.Store(2)
		db := openHosts(t, replaced, promoted)
		require.NoError(t, write(t, db))
		promoted.kill()
		var err error
		require.Eventually(t, func() bool {
			err = write(t, db)
			return strings.HasPrefix(database.Reason(err), "has only a primary that was replaced")
		}, 10*time.Second, time.Millisecond)
		require.ErrorIs(t, database.Explain(err), database.ErrUnavailable)
		require.Zero(t, replaced.written.Load())
		require.NoError(t, write(t, openHosts(t, replaced, promoted)), "a process that starts knows of no other")
	})

	t.Run("are all asked again after none could be used", func(t *testing.T) {
		t.Parallel()
		first, second := newServer(t, false), newServer(t, true)
		first.timeline.Store(1)
		db := openHosts(t, first, second)
		require.NoError(t, write(t, db))
		first.crash()
		require.Eventually(t, func() bool {
			return database.Reason(write(t, db)) == "has no server among POSTGRES_HOST that takes writes"
		}, 10*time.Second, time.Millisecond)
		second.timeline.Store(2)
		second.standby.Store(false) // promoted
		first.down.Store(false)     // and the old one is back
		require.NoError(t, write(t, db))
		require.Equal(t, int64(1), second.written.Load())
	})

	t.Run("are asked to the end, though the first who asks has left", func(t *testing.T) {
		t.Parallel()
		replaced, promoted := newServer(t, false), newServer(t, false)
		replaced.timeline.Store(2)
		promoted.timeline.Store(3)
		promoted.silent.Lock()
		db := openHosts(t, replaced, promoted)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- writeWithin(ctx, db) }()
		require.Eventually(t, func() bool { return promoted.connected.Load() > 0 }, 10*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-left, context.Canceled)
		promoted.silent.Unlock()
		require.NoError(t, write(t, db))
		require.Equal(t, int64(1), promoted.written.Load())
	})

	t.Run("are asked once for all who wait", func(t *testing.T) {
		t.Parallel()
		frozen := newServer(t, false)
		frozen.frozen.Lock()
		defer frozen.frozen.Unlock()
		db := openHosts(t, frozen, newServer(t, true))
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := writeWithin(t.Context(), db); err == nil {
					t.Error("written to a frozen server")
				}
			})
		}
		all.Wait()
		require.Equal(t, int64(1), frozen.connected.Load())
	})

	t.Run("have a limit to say where their data come from", func(t *testing.T) {
		t.Parallel()
		silent, standby := newServer(t, false), newServer(t, true)
		silent.silent.Lock()
		defer silent.silent.Unlock()
		db := openHosts(t, silent, standby)
		require.Error(t, write(t, db))
		standby.standby.Store(false) // promoted
		require.NoError(t, write(t, db))
		require.Zero(t, silent.written.Load())
	})

	t.Run("that end the connection have not said that they do not know", func(t *testing.T) {
		t.Parallel()
		replaced, promoted := newServer(t, false), newServer(t, false)
		replaced.ending.Store(true)
		promoted.timeline.Store(3)
		require.NoError(t, write(t, openHosts(t, replaced, promoted)))
		require.Equal(t, int64(1), promoted.written.Load())
	})

	t.Run("lose a connection that was being made while another one was chosen", func(t *testing.T) {
		t.Parallel()
		first, second := newServer(t, false), newServer(t, true)
		db := openHosts(t, first, second)
		idle, err := db.Pool().Conn(t.Context())
		require.NoError(t, err)
		first.frozen.Lock()
		connected := first.connected.Load()
		connecting := make(chan error, 1)
		go func() { connecting <- write(t, db) }()
		require.Eventually(t, func() bool { return first.connected.Load() > connected }, 10*time.Second, time.Millisecond)
		second.standby.Store(false) // promoted
		require.NoError(t, idle.Close())
		used := time.Now()
		require.Eventually(t, func() bool { return time.Since(used) > 150*time.Millisecond }, time.Minute, time.Millisecond,
			"a connection in constant use is not checked")
		require.NoError(t, write(t, db), "which finds the idle connection dead")
		first.frozen.Unlock()
		require.NoError(t, <-connecting)
		require.Zero(t, first.written.Load())
		require.Equal(t, int64(2), second.written.Load())
	})

	t.Run("of which none takes writes are no database", func(t *testing.T) {
		t.Parallel()
		db := openHosts(t, newServer(t, true), newServer(t, true))
		err := db.Readable(t.Context())
		require.EqualError(t, err, "the database has no server among POSTGRES_HOST that takes writes")
	})
}
