//go:build e2e

package e2e

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestPooler runs the binaries behind PgBouncer in transaction mode, where every transaction may get another connection
// to the server.
func TestPooler(t *testing.T) {
	t.Parallel()
	t.Run("carries the whole service with POSTGRES_EXEC_MODE=exec", func(t *testing.T) {
		t.Parallel()
		pooler := append(harness.NewPooler(t), "POSTGRES_EXEC_MODE=exec")
		s := harness.New(t, harness.Options{})
		s.NewAPI(pooler...)
		s.NewAPI(pooler...)
		s.NewConsumer(pooler...)
		require.NoError(t, s.StartAll(t.Context()), "all migrate at once")
		for range 5 {
			p := verified(t, s)
			subscriptionState(t, s, p.id, "trialing")
		}
		for range 2 {
			out := s.Command(pooler, harness.API, "migrate", "up")
			require.Zero(t, out.Code, out.Stderr)
			require.Contains(t, out.Stdout, "nothing to do")
		}
	})

	t.Run("is named at the start in the usual mode", func(t *testing.T) {
		t.Parallel()
		pooler := harness.NewPooler(t)
		s := harness.New(t, harness.Options{})
		var out harness.Output
		var began time.Time
		for range 20 { // the first ones get connections that nobody has prepared anything on
			began = time.Now()
			if out = s.Command(pooler, harness.API, "migrate", "up"); out.Code != 0 {
				break
			}
		}
		require.Equal(t, 1, out.Code)
		require.Contains(t, out.Stderr, "pooler in transaction mode")
		require.Contains(t, out.Stderr, "POSTGRES_EXEC_MODE=exec")
		require.Less(t, time.Since(began), 30*time.Second, "waiting does not help")
	})

	t.Run("lets two migrate at once, and again after one was killed", func(t *testing.T) {
		t.Parallel()
		pooler := append(harness.NewPooler(t), "POSTGRES_EXEC_MODE=exec")
		s := harness.New(t, harness.Options{})
		// A transaction of the test holds the first step up, and with it the process that has the lease.
		holder := hold(t, s, "CREATE TABLE plans (id int)")
		killed := s.NewAPI(pooler...)
		go func() { _ = killed.Start(t.Context()) }()
		harness.Soon(t, func() error {
			if s.Count("SELECT count(*) FROM pg_stat_activity"+
				" WHERE wait_event_type = 'Lock' AND datname = current_database()") == 0 {
				return errors.New("nobody migrates")
			}
			return nil
		})
		require.NoError(t, killed.Kill())
		require.NoError(t, holder.Rollback())

		outputs := make(chan harness.Output, 2)
		for range 2 {
			go func() {
				out, err := s.System.Command(t.Context(), pooler, harness.API, "migrate", "up")
				if err != nil {
					out.Stderr += err.Error()
				}
				outputs <- out
			}()
		}
		one, two := <-outputs, <-outputs
		require.Zero(t, one.Code+two.Code, "%s %s", one.Stderr, two.Stderr)
		require.Equal(t, 1, strings.Count(one.Stdout+two.Stdout, "applied 00001"))
		out := s.Command(pooler, harness.API, "migrate", "status")
		require.Zero(t, out.Code, out.Stderr)
	})
}

// hold executes a statement in a transaction that stays open.
func hold(t *testing.T, s *harness.TestSystem, statement string) *sql.Tx {
	t.Helper()
	tx, err := s.DB.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	_, err = tx.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	return tx
}
