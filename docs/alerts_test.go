package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAlerts(t *testing.T) {
	t.Parallel()
	page := anchors(read(t, "docs/runbook.md"))
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "deployments/alerts.yaml"), -1)
	require.NotEmpty(t, alerts)
	word := regexp.MustCompile(`[A-Z][a-z0-9]*`)
	for _, m := range alerts {
		anchor := strings.ToLower(strings.Join(word.FindAllString(m[1], -1), "-"))
		if !slices.Contains(page, anchor) {
			t.Errorf("docs/runbook.md has no section #%s for the alert %s", anchor, m[1])
		}
	}
}
