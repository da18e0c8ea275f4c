//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// waits waits until n mails are in the queue of codes, and none in anybody's hands.
func waits(t *testing.T, s *harness.TestSystem, n int) {
	t.Helper()
	harness.Soon(t, func() error {
		if ready := s.QueueLength(emailQueue); ready != n {
			return fmt.Errorf("%d mails wait, expected %d", ready, n)
		}
		return nil
	})
}

// TestPausedByAPerson checks that a person's pause of a lane is for every consumer and outlives each of them, that it loses
// nothing, and that everything leaves once after it.
func TestPausedByAPerson(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 2})
	const pausedBy, resumedBy = "mail is paused by an operator", "mail is resumed by an operator"
	lane := func(code int, args ...string) harness.Output {
		t.Helper()
		out := s.Command(nil, harness.Consumer, append([]string{"lane"}, args...)...)
		require.Equal(t, code, out.Code, out.Stdout+out.Stderr)
		return out
	}
	require.Contains(t, lane(1, "pause", emailQueue).Stderr, "by")
	require.Contains(t, lane(1, "pause", "identity.project", "--by", "an").Stderr, emailQueue)
	require.Contains(t, lane(1, "resume", emailQueue, "--by", "an").Stderr, "not paused")
	lane(0, "pause", emailQueue, "--by", "an", "--reason", "the server moves")
	require.Contains(t, lane(1, "pause", emailQueue, "--by", "binh").Stderr, "by an since")
	for _, c := range s.Consumers {
		s.WaitLine(c, pausedBy, emailQueue, "the server moves")
	}
	var people []*person
	for range 12 {
		people = append(people, register(t, s))
	}
	waits(t, s, len(people))
	alertsSoon(t, s, "LanePausedByOperator")
	require.Contains(t, lane(0, "list").Stdout, "paused by an since")
	harness.Soon(t, func() error {
		value, err := s.APIs[0].Metric(t.Context(), `lane_paused_by_operator_seconds{queue="identity.email"}`)
		if err == nil && value <= 0 {
			err = fmt.Errorf("the metric is %v", value)
		}
		return err
	})

	for _, c := range s.Consumers {
		from := len(c.Log.Lines(0))
		require.NoError(t, c.Kill())
		require.NoError(t, c.Start(t.Context()))
		_, err := c.Log.Wait(t.Context(), from, pausedBy, emailQueue)
		require.NoError(t, err)
	}
	waits(t, s, len(people))
	for _, p := range people {
		require.Empty(t, s.Mailbox.All(p.email))
	}
	require.Zero(t, s.Count("SELECT count(*) FROM mail_deliveries WHERE attempts > 0 OR state <> 'owed'"))
	s.Terminate(s.Consumers[0]) // a stop in order gives everything back as well
	require.NoError(t, s.Consumers[0].Start(t.Context()))
	waits(t, s, len(people))

	require.Contains(t, lane(0, "resume", emailQueue, "--by", "binh").Stdout, "an had paused it")
	for _, c := range s.Consumers {
		s.WaitLine(c, resumedBy, emailQueue)
	}
	for _, p := range people {
		oneMail(t, s, p.email)
	}
	ledgerHas(t, s, 0, "attempts <> 1 OR state <> 'accepted'")
	require.Zero(t, s.QueueLength(emailQueue+".dead"))
	require.Equal(t, 2, s.Count("SELECT count(*) FROM audit_entries WHERE subject_id = 'identity.email' AND "+
		"(action = 'lane.paused' AND operator = 'an' OR action = 'lane.resumed' AND operator = 'binh')"))
	alertsSoon(t, s)
	logsHideSecrets(t, s, people...)
}
