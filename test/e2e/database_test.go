//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// set changes a setting of the system's database for connections that are opened from now on.
func set(t *testing.T, s *harness.TestSystem, setting string) {
	t.Helper()
	_, err := s.DB.ExecContext(t.Context(), fmt.Sprintf("ALTER DATABASE %s SET %s", s.Database, setting))
	require.NoError(t, err)
}

// unavailable checks that a request was answered with a 503 that says when to come again.
func unavailable(t *testing.T) func(harness.Answer, error) {
	return func(a harness.Answer, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, a.Status, "%s", a.Raw)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	}
}

// TestDatabaseRefusals has PostgreSQL refuse what is asked of it.
func TestDatabaseRefusals(t *testing.T) {
	t.Parallel()
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
		p, other := registered(t, s), verified(t, s)
		writable, err := s.DB.Conn(t.Context()) // what a connection may do is decided when it is opened
		require.NoError(t, err)
		t.Cleanup(func() { _ = writable.Close() })
		for _, statement := range []string{
			"ALTER DATABASE " + s.Database + " SET default_transaction_read_only = on",
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
		} {
			_, err = writable.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		s.Ready(s.APIs[0])
		unavailable(t)(p.client.Register(t.Context(), harness.Email(), harness.Password))
		unavailable(t)(p.client.Verify(t.Context(), p.email, p.code))
		unavailable(t)(other.client.Login(t.Context(), other.email, harness.Password, false)) // has a try to count and a session to store
		want(t, http.StatusOK)(other.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
		responds(t, s.APIs[0], "/ready", http.StatusOK, "is read-only")
		responds(t, s.APIs[0], "/health", http.StatusOK, "the database is read-only")

		_, err = writable.ExecContext(t.Context(), "ALTER DATABASE "+s.Database+" RESET default_transaction_read_only")
		require.NoError(t, err)
		harness.Soon(t, func() error {
			a, err := p.client.Verify(t.Context(), p.email, p.code)
			if err == nil && a.Status != http.StatusOK {
				err = fmt.Errorf("%d", a.Status)
			}
			return err
		})
		s.Ready(s.Consumers[0])
	})

	t.Run("a lost right", func(t *testing.T) {
		t.Parallel()
		s := harness.New(t, harness.Options{APIs: 1})
		p := s.Client()
		_, err := s.DB.ExecContext(t.Context(), "REVOKE INSERT ON users FROM CURRENT_USER")
		require.NoError(t, err)
		unavailable(t)(p.Register(t.Context(), harness.Email(), harness.Password))
		responds(t, s.APIs[0], "/ready", http.StatusOK, "denies INSERT on table users")
		responds(t, s.APIs[0], "/health", http.StatusOK, `"data":{"status":"degraded"`)
	})

	t.Run("the right to see the schema", func(t *testing.T) {
		t.Parallel()
		s := harness.New(t, harness.Options{APIs: 1})
		_, err := s.DB.ExecContext(t.Context(), "ALTER SCHEMA public RENAME TO hidden")
		require.NoError(t, err)
		unavailable(t)(s.Client().Login(t.Context(), harness.Email(), harness.Password, false))
	})

	for what, setting := range map[string]string{"a lock": "lock_timeout = '2s'", "a statement": "statement_timeout = '2s'"} {
		t.Run(what+" that takes too long", func(t *testing.T) {
			t.Parallel()
			s := harness.New(t, harness.Options{})
			set(t, s, setting)
			s.NewAPI()
			s.NewConsumer()
			require.NoError(t, s.StartAll(t.Context()))
			p := registered(t, s)
			row := hold(t, s, "SELECT FROM users WHERE id = '"+p.id+"' FOR UPDATE")
			unavailable(t)(p.client.Verify(t.Context(), p.email, p.code))
			require.NoError(t, row.Rollback())
			p.verify(t)
		})
	}

	t.Run("one of two serializable transactions", func(t *testing.T) {
		t.Parallel()
		s := harness.New(t, harness.Options{})
		set(t, s, "default_transaction_isolation = serializable")
		s.NewAPI()
		s.NewAPI()
		s.NewConsumer()
		require.NoError(t, s.StartAll(t.Context()))
		admin := verified(t, s)
		require.Zero(t, s.Command(nil, harness.API, "user", "promote", admin.email, "--by", "a test").Code)
		want(t, http.StatusOK)(admin.client.Login(t.Context(), admin.email, harness.Password, false))
		var uploads sync.WaitGroup
		statuses := make(chan int, 30)
		for i := range 30 {
			uploads.Go(func() {
				a, err := admin.client.Call(t.Context(), http.MethodPost, "/users/invitations",
					[]string{fmt.Sprintf("a%d@example.com", i), fmt.Sprintf("b%d@example.com", i)})
				if err != nil {
					a.Status = 0
				}
				statuses <- a.Status
			})
		}
		uploads.Wait()
		close(statuses)
		for status := range statuses {
			// 429: an administrator has two uploads at a time in each api.
			require.Contains(t, []int{http.StatusAccepted, http.StatusServiceUnavailable, http.StatusTooManyRequests}, status)
		}
	})
}

// TestDeadDatabasePath freezes the paths to PostgreSQL that are open. New ones work.
func TestDeadDatabasePath(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	proxy := harness.NewProxy(t, net.JoinHostPort(os.Getenv("POSTGRES_HOST"), os.Getenv("POSTGRES_PORT")))
	s.NewAPI("POSTGRES_HOST=127.0.0.1", "POSTGRES_PORT="+proxy.Port())
	require.NoError(t, s.StartAll(t.Context()))
	client := s.Client()
	var logins sync.WaitGroup
	for range 20 {
		logins.Go(func() { _, _ = client.Login(t.Context(), harness.Email(), harness.Password, false) })
	}
	logins.Wait()
	proxy.Freeze()
	wait(t, 200*time.Millisecond) // a connection that has been idle for half as long is checked before it is used
	for n := range 10 {
		began := time.Now()
		refused(t, http.StatusUnauthorized, 20004)(client.Login(t.Context(), harness.Email(), harness.Password, false))
		require.Less(t, time.Since(began), 15*time.Second, "login %d", n) // one of them about a second
	}
}
