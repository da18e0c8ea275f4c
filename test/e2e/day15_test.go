//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// TestDay15 has time itself at work on subscriptions, and kills consumers meanwhile.
func TestDay15(t *testing.T) {
	t.Run("ten thousand trials end in one minute, and a consumer is killed", trialsEnd)
	t.Run("everybody is reminded once, and a consumer is killed", trialsAreReminded)
}

// scheduling has the consumers' scheduler on, whatever the environment says.
var scheduling = map[string]string{"SUBSCRIPTION_SCHEDULER": "on"}

// addTrials stores n verified users whose trials end one after the other, the first at the given time from now. They have
// been reminded so many days before, or not yet (0).
func addTrials(t *testing.T, s *harness.TestSystem, prefix string, n int, ends, apart time.Duration, reminded int) {
	t.Helper()
	_, err := s.DB.ExecContext(t.Context(), `INSERT INTO plans (id, name, code, max_usage, created_at, updated_at)
		VALUES (gen_random_uuid(), 'Free', 'free', 100, now(), now()) ON CONFLICT DO NOTHING`)
	require.NoError(t, err)
	_, err = s.DB.ExecContext(t.Context(), `WITH people AS (
			INSERT INTO users (id, username, is_active, created_at, updated_at)
			SELECT gen_random_uuid(), $1 || n || '@example.com', true, now(), now() FROM generate_series(1, $2::int) n
			RETURNING id
		), versions AS (
			INSERT INTO subscription_versions (user_id, version) SELECT id, 1 FROM people
		), ending AS (
			SELECT id, now() + make_interval(secs => $3::float8 + $4::float8 * row_number() OVER ()) AS at FROM people
		)
		INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, trial_ends_at, version, created_at, updated_at,
			reminded_for, reminded_days)
		SELECT gen_random_uuid(), e.id, p.id, 'trialing', e.at - interval '336 hours', e.at, 1, now(), now(),
			CASE WHEN $5::int > 0 THEN e.at END, nullif($5::int, 0)
		FROM ending e, plans p WHERE p.code = 'free'`, prefix, n, ends.Seconds(), apart.Seconds(), reminded)
	require.NoError(t, err)
}

// eventually is harness.Soon with the time that a killed relay's rows take, and that of a busy machine.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Patience)
	defer cancel()
	require.NoError(t, harness.Eventually(ctx, cond))
}

func trialsEnd(t *testing.T) {
	const n = 10_000
	s := harness.New(t, harness.Options{Consumers: 2, Env: scheduling})
	recorded := recordEvents(t, s)
	addTrials(t, s, "day15-", n, 3*time.Second, 100*time.Microsecond, 1)
	expired := func() int { return s.Count("SELECT count(*) FROM subscriptions WHERE status = 'expired'") }
	harness.Soon(t, func() error {
		if expired() == 0 {
			return fmt.Errorf("no trial has expired")
		}
		return nil
	})
	require.NoError(t, s.Consumers[0].Kill())
	before := expired()
	require.Less(t, before, n, "killed in the middle")
	t.Logf("killed after %d of %d", before, n)

	began := time.Now()
	eventually(t, func() error {
		if got := expired(); got != n {
			return fmt.Errorf("%d trials have expired", got)
		}
		return nil
	})
	t.Logf("the rest has expired %s later", time.Since(began).Round(time.Millisecond))
	eventually(t, func() error {
		if rows := s.Count("SELECT count(*) FROM outbox"); rows > 0 {
			return fmt.Errorf("%d events have not left", rows)
		}
		return nil
	})
	require.Zero(t, s.Count("SELECT count(*) FROM subscriptions WHERE version <> 2"))
	require.Zero(t, s.Count("SELECT count(*) FROM subscription_versions WHERE version <> 2"))
	checkExpiredEvents(t, recorded, n)
	checkExpiredStates(t, s, n)
	t.Logf("all events and states are there %s after the kill", time.Since(began).Round(time.Millisecond))
}

// checkExpiredEvents checks that n users were reported once. What a killed relay had published and not deleted comes
// again under the same id.
func checkExpiredEvents(t *testing.T, recorded *eventRecorder, n int) {
	t.Helper()
	users := map[string]string{} // id → event
	eventually(t, func() error {
		clear(users)
		for _, e := range recorded.events("subscription.cancelled") {
			var data struct {
				UserID string `json:"user_id"`
				Status string `json:"new_status"`
				Reason string `json:"cancellation_reason"`
			}
			require.NoError(t, e.data(&data))
			require.Equal(t, []string{"expired", "trial_expired"}, []string{data.Status, data.Reason})
			if other, again := users[data.UserID]; again {
				require.Equal(t, other, e.EventID, "two events for one user")
			}
			users[data.UserID] = e.EventID
		}
		if len(users) != n {
			return fmt.Errorf("%d users were reported", len(users))
		}
		return nil
	})
	t.Logf("%d events, %d of them more than once", len(users), len(recorded.events("subscription.cancelled"))-len(users))
	require.Empty(t, recorded.events("subscription.status_changed"))
}

// checkExpiredStates checks that Redis holds n states, all of them expired.
func checkExpiredStates(t *testing.T, s *harness.TestSystem, n int) {
	t.Helper()
	eventually(t, func() error {
		found, err := s.Redis.Keys(t.Context(), stateKey("*")).Result()
		if err != nil {
			return err
		}
		if len(found) != n {
			return fmt.Errorf("%d states", len(found))
		}
		return nil
	})
	found, err := s.Redis.Keys(t.Context(), stateKey("*")).Result()
	require.NoError(t, err)
	states, err := s.Redis.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for _, key := range found {
			p.HMGet(t.Context(), key, "status", "version")
		}
		return nil
	})
	require.NoError(t, err)
	for _, state := range states {
		require.Equal(t, []any{"expired", "2"}, state.(*redis.SliceCmd).Val())
	}
}

func trialsAreReminded(t *testing.T) {
	const n = 100
	s := harness.New(t, harness.Options{Consumers: 2, Env: scheduling})
	const day = 24 * time.Hour
	addTrials(t, s, "one-", n, day+2*time.Second, time.Millisecond, 3)
	addTrials(t, s, "three-", n, 3*day+2*time.Second, time.Millisecond, 0)
	addTrials(t, s, "later-", n, 4*day, time.Millisecond, 0)
	s.WaitReached(smtptest.EndOfData, n/4)
	require.NoError(t, s.Consumers[0].Kill())
	t.Logf("killed after %d mails", len(s.Mailbox.All("")))

	subjects := func() map[string]int {
		seen := map[string]int{}
		for _, mail := range s.Mailbox.All("") {
			seen[mail.To+" "+mail.Subject]++
		}
		return seen
	}
	eventually(t, func() error {
		if seen := subjects(); len(seen) < 2*n {
			return fmt.Errorf("%d different mails", len(seen))
		}
		return nil
	})
	s.OutboxEmpty()
	seen := subjects()
	require.Len(t, seen, 2*n)
	repeated := 0
	for mail, times := range seen {
		require.LessOrEqual(t, times, 2, "the mails that the killed consumer had in hand are repeated once: %s", mail)
		repeated += times - 1
	}
	t.Logf("%d mails repeated", repeated)
	eventually(t, func() error { // the last mails have come, and their rows follow
		if n := s.Count("SELECT count(*) FROM mail_deliveries WHERE state <> 'accepted' AND resends = 0"); n != 0 {
			return fmt.Errorf("%d mails are not recorded as accepted", n)
		}
		return nil
	})
	require.Equal(t, 2*n, s.Count("SELECT count(*) FROM mail_deliveries"))
	require.Equal(t, n, s.Count("SELECT count(*) FROM subscriptions WHERE reminded_days = 3"))
	require.Equal(t, n, s.Count("SELECT count(*) FROM subscriptions WHERE reminded_days = 1"))
}
