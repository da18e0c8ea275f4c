package audit_test

import (
	"context"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
)

func TestActions(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("audit.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	actions := regexp.MustCompile(`Action = "([a-z_.]+)"`).FindAllStringSubmatch(string(code), -1)
	require.Greater(t, len(actions), 20)
	for _, action := range actions {
		require.Contains(t, string(page), "`"+action[1]+"`", "docs/operations.md describes every action")
		require.Contains(t, audit.Actions, audit.Action(action[1]))
	}
	require.Len(t, audit.Actions, len(actions))
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	require.Zero(t, audit.OriginOf(context.Background()))
	origin := audit.Origin{Operator: "an"}
	require.Equal(t, origin, audit.OriginOf(audit.WithOrigin(context.Background(), origin)))
}
