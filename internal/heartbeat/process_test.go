package heartbeat

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var start = time.Date(2026, 1, 31, 9, 30, 0, 123_999_000, time.UTC)

// handClock is the database's clock, set by hand.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func exec(t *testing.T, db *database.DB, query string) {
	t.Helper()
	_, err := db.Conn(context.Background()).ExecContext(context.Background(), query)
	require.NoError(t, err)
}

func TestProcess(t *testing.T) {
	t.Parallel()
	t.Run("is alive until its heartbeat is overdue or it has stopped", func(t *testing.T) {
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
	})
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		text, err := json.Marshal(Process{ID: "p1", Role: "api", Version: "1.0", Note: "dual", StartedAt: start, SeenAt: start})
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"p1","role":"api","version":"1.0","phase":"dual",
			"started_at":"2026-01-31T09:30:00.123999Z","seen_at":"2026-01-31T09:30:00.123999Z"}`, string(text))
	})
}

func TestListAndPurge(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		list := func(since time.Time) []Process {
			all, err := List(context.Background(), db, since)
			require.NoError(t, err)
			return all
		}
		require.Equal(t, []Process{}, list(time.Time{}), "JSON has a list")
		stopped := start.Add(time.Minute)
		api1 := Process{"019c1000-0000-7000-8000-000000000001", "api", "1.0", "dual", "{}", start, start.Add(time.Minute), nil}
		api2 := Process{"019c1000-0000-7000-8000-000000000002", "api", "1.1", "", "", start.Add(time.Second), stopped, &stopped}
		consumer := Process{"019c1000-0000-7000-8000-000000000000", "consumer", "1.1", "prepare", "", start, start, nil}
		for _, p := range []Process{consumer, api2, api1} {
			require.NoError(t, save(context.Background(), db, p))
		}
		require.Equal(t, []Process{api1, api2, consumer}, list(time.Time{}))
		require.Equal(t, []Process{api1, api2, consumer}, list(start.In(time.FixedZone("ICT", 7*3600))))
		require.Equal(t, []Process{api1, api2}, list(start.Add(time.Microsecond)))

		n, err := Purge(context.Background(), db, start.Add(time.Microsecond))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.Equal(t, []Process{api1, api2}, list(time.Time{}))

		exec(t, db, "DROP TABLE processes")
		_, err = List(context.Background(), db, start)
		require.ErrorContains(t, err, "listing")
		_, err = Purge(context.Background(), db, start)
		require.ErrorContains(t, err, "purging")
	})
}
