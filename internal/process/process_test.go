package process

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestAlive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p    Process
		want bool
	}{
		"just seen":              {Process{SeenAt: start}, true},
		"seen by a faster clock": {Process{SeenAt: start.Add(time.Second)}, true},
		"at the limit":           {Process{SeenAt: start.Add(-AliveFor)}, true},
		"beyond it":              {Process{SeenAt: start.Add(-AliveFor - time.Microsecond)}, false},
		"stopped":                {Process{SeenAt: start, StoppedAt: &start}, false},
	} {
		require.Equal(t, c.want, c.p.Alive(start), name)
	}
	require.Greater(t, AliveFor, 4*BeatEvery)
}

func TestReadAndPurgeProcesses(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		read := func(since time.Time) []Process {
			found, err := ReadProcesses(context.Background(), db, since)
			require.NoError(t, err)
			return found
		}
		require.Equal(t, []Process{}, read(time.Time{}), "JSON has a list")
		stopped := start.Add(time.Minute)
		api1 := Process{"019c1000-0000-7000-8000-000000000001", "api", "1.0", Dual, start, start.Add(time.Minute), nil}
		api2 := Process{"019c1000-0000-7000-8000-000000000002", "api", "1.1", Cutover, start.Add(time.Second), stopped, &stopped}
		consumer := Process{"019c1000-0000-7000-8000-000000000000", "consumer", "1.1", Prepare, start, start, nil}
		for _, p := range []Process{consumer, api2, api1} {
			require.NoError(t, saveProcess(context.Background(), db, p))
		}
		require.Equal(t, []Process{api1, api2, consumer}, read(time.Time{}))
		require.Equal(t, []Process{api1, api2, consumer}, read(start.In(time.FixedZone("ICT", 7*3600))))
		require.Equal(t, []Process{api1, api2}, read(start.Add(time.Microsecond)))

		n, err := PurgeProcesses(context.Background(), db, start.Add(time.Microsecond))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.Equal(t, []Process{api1, api2}, read(time.Time{}))

		exec(t, db, "DROP TABLE processes")
		_, err = ReadProcesses(context.Background(), db, start)
		require.ErrorContains(t, err, "reading processes")
		_, err = PurgeProcesses(context.Background(), db, start)
		require.ErrorContains(t, err, "purging processes")
	})
}

func TestAProcessAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Process{ID: "p1", Role: "api", Version: "1.0", Phase: Dual, StartedAt: start, SeenAt: start})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"p1","role":"api","version":"1.0","phase":"dual",
		"started_at":"2026-01-31T09:30:00.123999Z","seen_at":"2026-01-31T09:30:00.123999Z"}`, string(text))
}
