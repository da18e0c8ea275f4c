package http

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/heartbeat"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
)

// text returns what a person reads of a page's main part.
func text(page string) string {
	_, main, _ := strings.Cut(page, `tabindex="-1">`)
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(main, " ")), " ")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	t.Run("says that all is well, or that not all is known", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{})
		page := text(s.get(t, "/status").body)
		require.Contains(t, page, "Well. Nothing is wrong.")
		require.Contains(t, page, "consumer 2 alive")
		for _, gap := range []string{"Owed unknown", "Lanes unknown", "Outbox unknown", "Projects unknown", "lag unknown", "snapshot unknown"} {
			require.Contains(t, page, gap)
		}
		s.facts.Unknown = []string{"the outbox: the database is <slow>"}
		s.facts.Processes = nil
		page = s.get(t, "/status").body
		require.Contains(t, page, "Unknown: the outbox: the database is &lt;slow&gt;")
		require.Contains(t, text(page), "not everything is known")
		require.Contains(t, text(page), "consumer unknown")
	})
	t.Run("says what is wrong, the worst first, and what to do", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{})
		s.facts.Queues = []status.Queue{{Name: "identity.email", Exists: new(true), Ready: new(3), Retry: new(0), Consumers: new(1), Dead: new(7)}}
		s.facts.Lanes = []status.Lane{{Queue: "identity.email", Paused: true, Class: "<refused>", Since: new(evening.Add(-time.Minute))}}
		s.facts.Redis = status.Dependency{Status: "unhealthy", Error: "READONLY <b>"}
		s.facts.Troubles = []status.Trouble{{Role: "api", Server: "redis", Error: "<i>", Count: 2}}
		body := s.get(t, "/status").body
		page := text(body)
		redis, lane, dead := strings.Index(page, "Redis is unhealthy: READONLY"), strings.Index(page, "identity.email is paused"),
			strings.Index(page, "identity.email has 7 dead letters")
		require.True(t, 0 < redis && redis < lane && lane < dead, page)
		for _, part := range []string{"docs/runbook.md#redis-refuses-writes", "docs/runbook.md#mail-is-paused", "people wait"} {
			require.Contains(t, page, part)
		}
		require.Contains(t, body, `<a href="/deadletters">Dead letters</a></p>`)
		require.NotContains(t, body, "<b>")
		require.NotContains(t, body, "<i>")
		queues := s.get(t, "/queues").body
		require.Contains(t, text(queues), "The lane identity.email sends nothing since 2026-11-27 19:59:00 UTC", "every page says so")
		require.Contains(t, text(queues), "identity.email 3 0 7 1")
	})
	t.Run("shows figures that are unknown as such", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{})
		s.facts.Queues = []status.Queue{{Name: "identity.email"}, {Name: "identity.project", Exists: new(false)}}
		page := text(s.get(t, "/queues").body)
		require.Contains(t, page, "identity.email unknown unknown unknown unknown")
		require.Contains(t, page, "identity.project does not exist unknown")
	})
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	s := serve(t, Access{})
	one := func(id, role string, seen time.Duration, says status.Report) operations.Process {
		return operations.Process{
			Process: heartbeat.Process{ID: id, Role: role, Version: "<v2>", Note: "complete", StartedAt: evening.Add(-time.Hour), SeenAt: evening.Add(-seen)},
			Says:    says,
		}
	}
	stopped := one("4", "consumer", time.Second, status.Report{})
	stopped.StoppedAt = new(evening)
	s.processes = []operations.Process{
		one("1", "api", 4*time.Second, status.Report{Troubles: map[string]string{"redis": "<no>"}}),
		one("2", "consumer", 3*time.Second, status.Report{
			SchedulerLag: new(65.0), SchedulerRan: new(evening.Add(-2 * time.Second)),
			Lanes: []event.LaneState{{Queue: "identity.email", Paused: true, Class: "refused"}},
		}),
		one("3", "consumer", time.Minute, status.Report{}), stopped, one("5", "consumer", 0, status.Report{}),
	}
	page := text(s.get(t, "/processes").body)
	require.Contains(t, page, "api &lt;v2&gt; alive 1 h 0 min ago 4 s ago redis: &lt;no&gt; 1")
	require.Contains(t, page, "alive 1 h 0 min ago 3 s ago identity.email sends nothing (refused) phase complete 2")
	require.Contains(t, page, "silent 1 h 0 min ago 1 min 0 s ago phase complete 3")
	require.Contains(t, page, "stopped")
	page = text(s.get(t, "/status").body)
	require.Contains(t, page, "A process of the role consumer has been silent for 1 min 0 s and did not stop")
	s.processes[4].StartedAt = evening.Add(-time.Second)
	require.NotContains(t, text(s.get(t, "/status").body), "has been silent", "one has started in its place")
	s.processes[2].StartedAt, s.processes[2].SeenAt = evening.Add(-61*time.Second), evening.Add(-time.Minute)
	s.processes[4].StartedAt = evening.Add(-59 * time.Second)
	require.Contains(t, text(s.get(t, "/status").body), "has been silent", "the other was started together with it")

	page = text(s.get(t, "/scheduler").body)
	require.Contains(t, page, "2 on 1 min 5 s 2026-11-27 19:59:58 UTC 5 off, or it has not reported yet")
	require.Contains(t, page, "Next nothing comes due")
	s.next = evening.Add(time.Hour)
	require.Contains(t, text(s.get(t, "/scheduler").body), "Next 2026-11-27 21:00:00 UTC")

	s.failure, s.processes = errors.New("the database is <gone>"), nil
	for _, path := range []string{"/processes", "/scheduler", "/migration"} {
		r := s.get(t, path)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Contains(t, r.body, "Unknown: the database is &lt;gone&gt;", path)
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	s := serve(t, Access{})
	s.migration = operations.Migration{At: evening.Add(-8 * time.Second), Phase: "dual", Next: "cutover", Waiting: 3,
		Steps: []operations.Step{{Name: "00001_x.sql", AppliedAt: evening}, {Name: "00002_y.sql"}}, Blockers: []string{"a <program> reads"}}
	page := text(s.get(t, "/migration").body)
	for _, part := range []string{
		"Phase dual of the hindmost", "read 8 s ago", "The step to cutover is not safe yet", "Not yet: a &lt;program&gt; reads",
		"outbox 3", "1 step is pending", "00001_x.sql 2026-11-27 20:00:00", "00002_y.sql pending",
	} {
		require.Contains(t, page, part)
	}
	s.migration = operations.Migration{At: evening, Phase: "complete", Next: "complete", Steps: s.migration.Steps[:1]}
	page = text(s.get(t, "/migration").body)
	require.Contains(t, page, "It is the last phase.")
	require.Contains(t, page, "Up to date.")
}

func TestCharts(t *testing.T) {
	t.Parallel()
	s := serve(t, Access{})
	begins := s.now
	for i := range 200 { // a little more than are kept
		s.now = begins.Add(time.Duration(i) * operations.SampleEvery)
		s.counters.Published += 10
		s.facts.Queues = []status.Queue{{Name: "identity.<email>", Ready: new(i), Retry: new(1)}}
		if i >= 100 && i < 110 {
			s.facts.Queues[0].Ready = nil
		}
		s.history.Take(t.Context())
	}
	body := s.get(t, "/queues").body
	require.Contains(t, body, "identity.&lt;email&gt;: now 200, lowest 20, highest 200")
	require.Len(t, regexp.MustCompile(`<polyline`).FindAllString(body, -1), 2, "where it is unknown there is no line")
	require.Contains(t, body, `600.0,0.0"`, "the newest is at the right, and the highest on top")
	rows := regexp.MustCompile(`(?s)<details id="chart-waiting-numbers">.*?</details>`).FindString(body)
	require.LessOrEqual(t, strings.Count(rows, "<tr>"), 18, "a row for each minute")
	require.Contains(t, text(s.get(t, "/status").body), "published 2", "ten in five seconds")
	require.Less(t, len(body), 40_000, fmt.Sprint(len(body)))

	s.now = s.now.Add(2 * operations.Window)
	require.Contains(t, text(s.get(t, "/queues").body), "Nothing is known yet.")
	for top, want := range map[float64]float64{1: 1, 1.5: 2, 3: 5, 7: 10, 10: 10, 11: 20, 490: 500, 501: 1000} {
		require.InDelta(t, want, ceiling(top), 1e-9)
	}
}
