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
