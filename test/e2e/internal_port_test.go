//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/test/harness"
)

// TestInternalPort walks every internal route of the contract against both ports of an api, with the right key.
func TestInternalPort(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Env: map[string]string{"INTERNAL_PORT": "0"}})
	api := s.APIs[0]
	var entry struct{ Address string }
	require.NoError(t, json.Unmarshal([]byte(s.WaitLine(api, "api is serving other services and operators")), &entry))
	inside := "http://" + entry.Address
	require.NotEqual(t, api.URL(), inside)

	for _, pattern := range append(apitest.New(t).Internal(), "GET /metrics") {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.ReplaceAll(path, ":id", uuid.NewString())
		for _, prefix := range []string{"", "/identity"} {
			status, body := askInside(t, method, api.URL()+prefix+path)
			require.Equal(t, http.StatusNotFound, status, "%s on APP_PORT: %s", pattern, body)
			require.Contains(t, body, `"error_code":404`, pattern)
			status, body = askInside(t, method, inside+prefix+path)
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusMethodNotAllowed}, status, "%s: %s", pattern, body)
			require.NotContains(t, body, `"error_code":404`, "%s: a thing may be missing, the route is there", pattern)
		}
	}
	for _, path := range []string{"/health", "/health/redis", "/health/rabbitmq", "/ready", "/live"} {
		var body string
		harness.Soon(t, func() error { // the first look at the broker may have been too early
			var status int
			if status, body = askInside(t, http.MethodGet, api.URL()+path); status != http.StatusOK {
				return errors.New(body)
			}
			return nil
		})
		for _, detail := range []string{"details", "exchange", "database", "warnings"} {
			require.NotContains(t, body, detail, path)
		}
		status, _ := askInside(t, http.MethodGet, inside+path)
		require.Equal(t, http.StatusOK, status, path)
	}
	_, body := askInside(t, http.MethodGet, inside+"/health")
	require.Contains(t, body, `"details":{"database"`)
	_, body = askInside(t, http.MethodGet, inside+"/health/rabbitmq")
	require.Contains(t, body, `"exchange":"smap.events"`)
	_, body = askInside(t, http.MethodGet, inside+"/metrics")
	require.Contains(t, body, `route="/health",status="200"`, "requests of both ports are counted together")
	status, _ := askInside(t, http.MethodGet, inside+"/plans")
	require.Equal(t, http.StatusNotFound, status, "what is for people stays on APP_PORT")
}

// askInside makes a request as another service does.
func askInside(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(`{}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Internal-Key", os.Getenv("INTERNAL_KEY"))
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(raw)
}
