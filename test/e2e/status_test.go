//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// serviceStatus is what `consumer status --json` prints, as far as it is looked at here.
type serviceStatus struct {
	Well     bool
	Problems []struct{ Alert, What, Next, Runbook string }
	Queues   []struct {
		Queue                                  string
		Ready, Unacked, Consumers, Retry, Dead *int
	}
	Processes []struct {
		Role  string
		Count int
	}
}

func (s serviceStatus) alerts() (names []string) {
	for _, p := range s.Problems {
		names = append(names, p.Alert)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readStatus runs `consumer status --json`. Its exit code says whether all is well.
func readStatus(t *testing.T, s *harness.TestSystem, env ...string) (read serviceStatus) {
	t.Helper()
	out := s.Command(env, harness.Consumer, "status", "--json")
	require.NoError(t, json.Unmarshal([]byte(out.Stdout), &read), out.Stdout+out.Stderr)
	require.Equal(t, read.Well, out.Code == 0, out.Stdout)
	return read
}

// alertsSoon waits until these alerts are what is wrong.
func alertsSoon(t *testing.T, s *harness.TestSystem, want ...string) {
	t.Helper()
	harness.Soon(t, func() error {
		if have := readStatus(t, s).alerts(); !slices.Equal(have, want) {
			return fmt.Errorf("wrong is %v, expected %v", have, want)
		}
		return nil
	})
}

// TestStatus checks that every process, and a command, say what has happened to the others.
func TestStatus(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	api := s.APIs[0]
	metricSoon := func(series string, want float64) {
		t.Helper()
		harness.Soon(t, func() error {
			if have, err := api.Metric(t.Context(), series); err != nil || have != want {
				return fmt.Errorf("%s is %v, expected %v: %w", series, have, want, err)
			}
			return nil
		})
	}
	alertsSoon(t, s)
	for _, q := range readStatus(t, s).Queues {
		require.Equal(t, []*int{new(0), new(1), new(0), new(0)}, []*int{q.Ready, q.Consumers, q.Retry, q.Dead}, q.Queue)
	}
	metricSoon(`processes{role="consumer",version="dev"}`, 1)
	metricSoon(`queue_consumers{queue="identity.email"}`, 1)

	s.Mailbox.Down()
	waiting := register(t, s)
	s.WaitLine(s.Consumers[0], isPaused)
	alertsSoon(t, s, "MailIsPaused")
	metricSoon(`lane_paused{queue="identity.email"}`, 1)

	require.NoError(t, s.Consumers[0].Kill())
	alertsSoon(t, s, "QueueWithoutConsumer", "RoleGone")
	metricSoon(`queue_consumers{queue="identity.email"}`, 0)
	metricSoon(`processes{role="consumer",version="dev"}`, 0)
	_, exposed, err := api.Get(t.Context(), "/metrics")
	require.NoError(t, err)
	require.NotContains(t, exposed, `processes{role="consumer"`, "there is no series, which an alert sees")
	require.NotContains(t, exposed, "lane_paused{", "nobody says")
	_, health, err := api.Get(t.Context(), "/health")
	require.NoError(t, err)
	require.Contains(t, strings.ReplaceAll(health, " ", ""), `"status":"degraded"`)
	require.Contains(t, health, "no process of the role consumer lives")
	people := s.Command(nil, harness.Consumer, "status")
	require.Equal(t, 1, people.Code)
	require.True(t, strings.HasPrefix(people.Stdout, "not well:\n  no process of the role consumer lives\n"), people.Stdout)

	require.NoError(t, s.Mailbox.Up())
	require.NoError(t, s.Consumers[0].Start(t.Context()))
	oneMail(t, s, waiting.email)
	alertsSoon(t, s)

	gone := readStatus(t, s, "REDIS_HOST=127.0.0.1:1", "RABBITMQ_URL=amqp://127.0.0.1:1/", "RABBITMQ_MANAGEMENT_URL=")
	require.Equal(t, []string{"BrokerUnavailable", "RedisRefusesWrites"}, gone.alerts())
	for _, q := range gone.Queues {
		require.Equal(t, []*int{nil, nil, nil, nil, nil}, []*int{q.Ready, q.Unacked, q.Consumers, q.Retry, q.Dead}, "unknown is no figure")
	}
}
