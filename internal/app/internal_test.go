package app

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

// probes are what both ports serve.
var probes = []string{"GET /health", "GET /health/rabbitmq", "GET /health/redis", "GET /live", "GET /ready"}

func TestInternalPort(t *testing.T) {
	t.Setenv("INTERNAL_PORT", "0")
	t.Setenv("INTERNAL_KEY", internalKey)
	p := start(t, t.TempDir())
	require.NotEqual(t, p.APIURL(), p.InternalURL())
	internal := append(p.contract.Internal(), "GET /metrics")

	t.Run("serves every internal route, and APP_PORT none", func(t *testing.T) {
		require.Greater(t, len(internal), 5)
		for _, pattern := range internal {
			_, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer(":id", "a", ":project_id", "a").Replace(path)
			for _, method := range []string{
				http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, "PURGE",
			} {
				for _, url := range []string{p.APIURL() + path, p.APIURL() + "/identity" + path} {
					status, code, _ := ask(t, method, url, internalKey)
					require.Equal(t, http.StatusNotFound, status, "%s %s", method, url)
					if method != http.MethodHead {
						require.Equal(t, http.StatusNotFound, code, "there is no such route: %s %s", method, url)
					}
				}
			}
			for _, prefix := range []string{"", "/identity"} {
				method, _, _ := strings.Cut(pattern, " ")
				status, code, _ := ask(t, method, p.InternalURL()+prefix+path, internalKey)
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusMethodNotAllowed}, status, pattern)
				require.NotEqual(t, http.StatusNotFound, code, pattern)
			}
			if pattern != "GET /metrics" {
				method, _, _ := strings.Cut(pattern, " ")
				status, _, _ := ask(t, method, p.InternalURL()+path, "not the key of this service")
				require.Equal(t, http.StatusUnauthorized, status, pattern)
			}
		}
	})

	t.Run("serves nothing else", func(t *testing.T) {
		want := slices.Concat(internal, probes)
		slices.Sort(want)
		got := routesOf(p.internal)
		slices.Sort(got)
		require.Equal(t, want, slices.Compact(got))
	})

	t.Run("leaves APP_PORT every other route", func(t *testing.T) {
		public := routesOf(p.web)
		for _, pattern := range p.contract.Routes() {
			require.Contains(t, public, pattern)
			if method, path, _ := strings.Cut(pattern, " "); method == http.MethodGet && !slices.Contains(internal, pattern) {
				_, code, _ := ask(t, method, p.APIURL()+path, "")
				require.NotEqual(t, http.StatusNotFound, code, pattern)
			}
		}
	})

	t.Run("has the details of health, and APP_PORT the state alone", func(t *testing.T) {
		for _, pattern := range probes {
			path := strings.TrimPrefix(pattern, "GET ")
			status, _, data := ask(t, http.MethodGet, p.InternalURL()+path, "")
			require.Equal(t, http.StatusOK, status, path)
			details := strings.Contains(string(data), `"details"`) || strings.Contains(string(data), `"exchange"`)
			status, code, _ := ask(t, http.MethodPost, p.APIURL()+path, "")
			require.Equal(t, []int{http.StatusMethodNotAllowed, http.StatusMethodNotAllowed}, []int{status, code}, path)
			require.Equal(t, slices.Contains([]string{"/ready", "/health", "/health/rabbitmq"}, path), details, string(data))

			var short map[string]string // no value is anything but text
			require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, path, nil), &short))
			require.NotEmpty(t, short["status"])
			delete(short, "status")
			delete(short, "version")
			require.Empty(t, short, path)
		}
	})

	t.Run("counts its requests with the others", func(t *testing.T) {
		metrics := get(t, p.InternalURL()+"/metrics")
		require.Contains(t, metrics, `http_request_duration_seconds_count{method="GET",route="/internal/projects/:id",status="404"}`)
		require.Contains(t, metrics, `http_request_duration_seconds_count{method="GET",route="/health",status="200"}`)
	})
}

// ask makes a request with a key and returns the status, the error code (0 where there is no body) and the data.
func ask(t *testing.T, method, url, key string) (status, code int, data json.RawMessage) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	require.NoError(t, err)
	request.Header.Set("X-Internal-Key", key)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var envelope struct {
		ErrorCode int `json:"error_code"`
		Data      json.RawMessage
	}
	_ = json.Unmarshal(raw, &envelope) // metrics are no JSON
	return response.StatusCode, envelope.ErrorCode, envelope.Data
}

// routesOf returns the routes of a server.
func routesOf(e *echo.Echo) (patterns []string) {
	for _, r := range e.Routes() {
		if r.Method != echo404 && r.Method != http.MethodHead {
			patterns = append(patterns, r.Method+" "+r.Path)
		}
	}
	return patterns
}
