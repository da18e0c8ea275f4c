package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	in := func(p process) []string {
		var names []string
		for _, r := range roles {
			if r.runs&p != 0 {
				names = append(names, r.name)
			}
		}
		return names
	}
	t.Run("the table is in the order in which stages stop", func(t *testing.T) {
		t.Parallel()
		for i := range roles[1:] {
			require.GreaterOrEqual(t, roles[i+1].stage, roles[i].stage, roles[i+1].name)
		}
	})
	t.Run("each process runs its own", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{
			"http", "internal http", "relay", "progress publisher", "progress subscriber", "legacy relay", "rabbitmq publisher",
			"legacy publisher", "heartbeat", "database clock",
		}, in(inAPI))
		require.Equal(t, []string{
			"monitor", "console", "consumer", "legacy consumer", "dead letter desk", "mail connections", "relay", "progress publisher",
			"lane pauses", "sweeper", "scheduler", "repairer", "console samples", "purge", "legacy relay", "rabbitmq publisher",
			"legacy publisher", "heartbeat", "database clock",
		}, in(inConsumer))
	})
	t.Run("the standalone runs both sides, and embedded parts in place of connections", func(t *testing.T) {
		t.Parallel()
		union := in(inAPI | inConsumer)
		require.Subset(t, append(in(inStandalone),
			"rabbitmq publisher", "heartbeat", "legacy consumer", "legacy relay", "legacy publisher", "console",
			"console samples", "dead letter desk"), union)
		require.NotContains(t, in(inStandalone), "rabbitmq publisher")
	})
}
