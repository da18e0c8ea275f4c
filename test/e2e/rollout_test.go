//go:build e2e

package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestRollout starts processes on an empty database as the manifests do, with a migration of its own beside them: they
// live, are not ready before it has ended, and need no restart.
func TestRollout(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Env: map[string]string{"DB_AUTO_MIGRATE": "false"}})
	for _, p := range []*harness.Process{s.NewAPI(), s.NewConsumer()} {
		require.NoError(t, p.Start(t.Context()))
		for path, want := range map[string]int{"/live": http.StatusOK, "/ready": http.StatusServiceUnavailable} {
			status, body, err := p.Get(t.Context(), path)
			require.NoError(t, err)
			require.Equal(t, want, status, "%s: %s", path, body)
		}
	}
	out := s.Command(nil, harness.API, "migrate", "up")
	require.Zero(t, out.Code, "%s%s", out.Stdout, out.Stderr)
	for _, p := range s.Processes() {
		s.Ready(p)
	}
	p := verified(t, s)
	require.NotEmpty(t, mySubscription(t, p).ID)
}
