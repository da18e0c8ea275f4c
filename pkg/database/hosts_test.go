package database_test

import (
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
	connected atomic.Int64

	mu   sync.Mutex
	open []net.Conn
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
}

func (s *server) serve(client net.Conn) {
	b := pgproto3.NewBackend(client, client)
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
		if query, ok := m.(*pgproto3.Query); ok { // statements without arguments come as these
			s.reply(b, query.String)
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

func (s *server) reply(b *pgproto3.Backend, query string) {
	switch {
	case query == "show transaction_read_only":
		value := map[bool]string{true: "on", false: "off"}[s.standby.Load()]
		b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("transaction_read_only"), DataTypeOID: 25}}})
		b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(value)}})
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SHOW")})
	case strings.HasPrefix(query, "INSERT") && s.standby.Load():
		b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "25006"})
	case strings.HasPrefix(query, "INSERT"):
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
	default:
		b.Send(&pgproto3.EmptyQueryResponse{})
	}
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
	_, err := db.Conn(t.Context()).ExecContext(t.Context(), "INSERT INTO things VALUES (1)")
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
		require.Equal(t, int64(1), standby.connected.Load(), "the last good one is tried first")
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
		require.Equal(t, int64(3), first.connected.Load())
		first.standby.Store(true)
		second.standby.Store(false)
		require.Error(t, write(t, db), "the first one learns it")
		for range 3 {
			require.NoError(t, write(t, db), "and no other one fails")
		}
		require.Positive(t, second.connected.Load())
	})

	t.Run("of which none takes writes are no database", func(t *testing.T) {
		t.Parallel()
		db := openHosts(t, newServer(t, true), newServer(t, true))
		err := db.Readable(t.Context())
		require.EqualError(t, err, "the database has no server among POSTGRES_HOST that takes writes")
	})
}
