package project_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

func TestPercent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		done, total int64
		want        float64
	}{
		{0, 0, 0}, {5, 0, 0}, {0, 5, 0}, {-1, 5, 0}, {1, 5, 20}, {1, 3, 33.33}, {2, 3, 66.66}, {57, 100, 57}, {29, 100, 29},
		{5, 5, 100}, {6, 5, 100}, {99_999, 100_000, 99.99}, {1<<53 - 2, 1<<53 - 1, 99.99}, {1, 1<<53 - 1, 0},
	}
	for _, tt := range tests {
		require.InDelta(t, tt.want, project.Progress{Done: tt.done, Total: tt.total}.Percent(), 0, "%d of %d", tt.done, tt.total)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	for status, want := range map[project.Status]bool{
		project.StatusDone: true, project.StatusFailed: true, project.StatusNotFound: false, project.StatusInitializing: false,
		project.StatusCrawling: false, project.StatusProcessing: false, project.StatusWaiting: false, "PAUSED": false,
	} {
		require.Equal(t, want, status.Final(), status)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("accepts valid input and returns ErrBody for the rest", func(t *testing.T) {
		t.Parallel()
		items := func(n int, id string) []project.Item {
			all := make([]project.Item, n)
			for i := range all {
				all[i].ID = id
			}
			return all
		}
		long := strings.Repeat("a", 200)
		for name, err := range map[string]error{
			"id": project.CheckID("id", long), "id with punctuation": project.CheckID("id", "a;b/é {x}"), "total 0": project.CheckTotal(0),
			"total": project.CheckTotal(1<<53 - 1), "items": project.CheckItems(items(1000, "a")),
			"reason": project.CheckReason(strings.Repeat("a", 500)), "item with a colon": project.CheckItems(items(1, "https://x/1")),
		} {
			require.NoError(t, err, name)
		}
		for name, err := range map[string]error{
			"no id": project.CheckID("id", ""), "long id": project.CheckID("id", long+"a"), "id with a line break": project.CheckID("id", "a\nb"),
			"id with a colon": project.CheckID("id", "a:items"), "not UTF-8": project.CheckID("id", "a\xff"), "DEL": project.CheckID("id", "a\x7f"),
			"NEL": project.CheckID("id", "a\u0085"), "item with a C1 control": project.CheckItems(items(1, "a\u0085")),
			"negative total": project.CheckTotal(-1), "huge total": project.CheckTotal(1 << 53),
			"no items": project.CheckItems(nil), "many items": project.CheckItems(items(1001, "a")), "bad item": project.CheckItems(items(2, "")),
			"no reason": project.CheckReason(""), "long reason": project.CheckReason(strings.Repeat("a", 501)),
		} {
			require.ErrorIs(t, err, project.ErrBody, name)
		}
	})
}

func TestInPhases(t *testing.T) {
	t.Parallel()
	known := func(total, done, errors int64) project.Phase {
		return project.Phase{Planned: true, Total: total, Done: done, Errors: errors}
	}
	none := project.Phase{}
	for name, tc := range map[string]struct {
		tasks, crawl, analysis project.Phase
		total, done, errors    int64
		percent                float64
	}{
		"nothing is known":                  {none, none, none, 0, 0, 0, 0},
		"nothing has a total":               {none, known(0, 80, 0), known(0, 5, 1), 0, 0, 0, 0},
		"tasks alone":                       {known(3, 1, 1), none, none, 3, 2, 1, 66.66},
		"tasks, and an analysis planned":    {known(3, 3, 0), none, known(0, 0, 0), 3, 3, 0, 50},
		"tasks before crawled items":        {known(4, 1, 0), known(80, 80, 0), none, 4, 1, 0, 25},
		"crawled items":                     {known(0, 0, 0), known(80, 10, 10), known(0, 0, 0), 80, 20, 10, 12.5},
		"both":                              {none, known(100, 100, 0), known(50, 24, 1), 150, 125, 1, 75},
		"the analysis alone":                {none, known(0, 80, 0), known(80, 20, 0), 80, 20, 0, 25},
		"more than there is":                {known(3, 5, 0), none, known(2, 1, 0), 5, 4, 0, 75},
		"rounded down":                      {known(3, 1, 0), none, known(3, 1, 0), 6, 2, 0, 33.33},
		"all":                               {known(3, 2, 1), none, known(80, 80, 0), 83, 83, 1, 100},
		"almost all is not all":             {known(1000000, 999999, 0), none, none, 1000000, 999999, 0, 99.99},
		"hardly anything is not everything": {none, known(1000000, 1, 0), none, 1000000, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := project.Progress{Status: project.StatusProcessing}.InPhases(tc.tasks, tc.crawl, tc.analysis)
			require.Equal(t, []int64{tc.total, tc.done, tc.errors}, []int64{p.Total, p.Done, p.Errors})
			require.InDelta(t, tc.percent, p.Percent(), 0.0001)
		})
	}
	t.Run("DONE is 100, whatever was counted", func(t *testing.T) {
		t.Parallel()
		for _, p := range []project.Progress{{}, {Total: 3, Done: 2}, project.Progress{}.InPhases(known(3, 1, 0), none, none)} {
			p.Status = project.StatusDone
			require.InDelta(t, 100, p.Percent(), 0)
		}
		require.Zero(t, project.Progress{Status: project.StatusFailed}.Percent(), "a failed one is where it was")
	})
}
