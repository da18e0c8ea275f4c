package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPurgeInTurn(t *testing.T) {
	p := start(t, t.TempDir())
	expired := func() int { return p.number(t, "SELECT count(*) FROM processes WHERE id = 'gone'") }
	purge := func(after time.Duration) {
		p.clock.Advance(after)
		_, err := p.db.Exec(t.Context(), "a process that has ended", `INSERT INTO processes (id, role, version, phase, started_at, seen_at)
			VALUES ('gone', 'api', 'v1', '', $1, $1) ON CONFLICT DO NOTHING`, p.clock.Now().Add(-2*processLife))
		require.NoError(t, err)
		p.purgeInTurn(t.Context())
	}

	purge(0)
	require.Zero(t, expired())
	purge(time.Minute)
	require.Equal(t, 1, expired(), "another process has just purged")
	purge(time.Hour)
	require.Zero(t, expired())
	purge(time.Hour - time.Second)
	require.Zero(t, expired(), "a timer that is early misses no turn")
	purge(time.Minute)
	require.Equal(t, 1, expired())
	require.NoError(t, p.purgeOnce(t.Context()), "as consumer purge does, at any time")
	require.Zero(t, expired())
}
