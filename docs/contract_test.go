package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	contract := apitest.NewEvents(t)
	t.Run("every event with a schema is in the registry", func(t *testing.T) {
		t.Parallel()
		text := read(t, "docs/events.md")
		for _, key := range contract.Keys() {
			require.Contains(t, text, "\n| `"+key+"` | ")
		}
	})
	t.Run("the retry ladder is that of the queues", func(t *testing.T) {
		t.Parallel()
		text := read(t, "docs/events.md")
		for _, q := range app.Queues(config.Config{}) {
			require.NotEmpty(t, q.Bindings)
			bindings := regexp.QuoteMeta(strings.Join(q.Bindings, "`, `"))
			row := regexp.MustCompile("\\| `" + q.Name + "` \\| `" + bindings + "` \\| (.*?),? and .*\\|")
			found := row.FindStringSubmatch(text)
			require.NotNil(t, found, q.Name)
			var waits []string
			for _, wait := range q.Retry.Levels {
				waits = append(waits, strings.Replace(wait.String(), "m0s", "m", 1))
			}
			require.Equal(t, strings.Join(waits, ", "), found[1])
		}
	})
	t.Run("the example follows its schema", func(t *testing.T) {
		t.Parallel()
		blocks := doctest.Blocks(t)
		i := slices.IndexFunc(blocks, func(b doctest.Block) bool {
			return b.Page == "docs/events.md" && b.Info == "json"
		})
		require.GreaterOrEqual(t, i, 0)
		contract.Check(t, event.Message{
			ID:          "evt_019c1000-0000-7000-8000-0000000000e2",
			RoutingKey:  string(event.SubscriptionCreated),
			ContentType: "application/json",
			Body:        []byte(blocks[i].Text),
		})
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	literals := map[string]bool{}
	walk(t, func(file, text string) {
		if strings.HasSuffix(file, "_test.go") || !strings.HasPrefix(file, "internal/") && !strings.HasPrefix(file, "pkg/") {
			return
		}
		for _, m := range regexp.MustCompile(`"([a-z]+(?:_[a-z]+)+)"`).FindAllStringSubmatch(text, -1) {
			literals[m[1]] = true
		}
	})
	name := regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
	labels := regexp.MustCompile(`\{[^}]*\}|by \([^)]*\)`)
	checked := 0
	exists := func(where, metric string) {
		checked++
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(metric, "")
		if !literals[metric] && !literals[base] && !strings.HasPrefix(metric, "redis_") { // redis_exporter's
			t.Errorf("%s: there is no metric %s", where, metric)
		}
	}
	_, section, ok := strings.Cut(read(t, "docs/operations.md"), "## Metrics")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(section, -1) {
		for _, metric := range name.FindAllString(labels.ReplaceAllString(row[1], ""), -1) {
			exists("docs/operations.md", metric)
		}
	}
	require.Greater(t, checked, 30)
}
