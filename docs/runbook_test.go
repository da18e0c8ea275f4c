package docs_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app"
)

// The commands of the Redis runbook, on a standalone: the routes are the real ones, the Redis is the embedded one.
func TestRedisRunbook(t *testing.T) {
	for _, port := range []string{"APP_PORT", "CONSUMER_PORT", "INBOX_PORT", "SMTP_PORT"} {
		t.Setenv(port, "0")
	}
	t.Setenv("DATA_DIR", t.TempDir())
	t.Setenv("INTERNAL_KEY", strings.Repeat("k", 16))
	cfg, err := config.Load(config.Standalone)
	require.NoError(t, err)
	s, err := app.NewStandalone(t.Context(), cfg, "test", zerolog.Nop())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})

	const id = "proj_demo"
	call := func(method, path, body string) string {
		t.Helper()
		url := s.APIURL() + "/internal/projects/" + id + path
		request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("X-Internal-Key", string(cfg.Secrets.Internal))
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, string(text))
		return string(text)
	}
	call(http.MethodPost, "", `{"user_id":"019c1000-0000-7000-8000-000000000001"}`)
	call(http.MethodPut, "/total", `{"total":4,"final":true}`)

	items := `{"items":[{"item_id":"a1"},{"item_id":"a2","failed":true},{"item_id":"a3"}]}`
	session := fmt.Sprintf("$ call POST /items '%s'\n%s", items, call(http.MethodPost, "/items", items))
	for _, command := range []string{
		"hmget smap:proj:proj_demo status total done errors",
		"get smap:user:proj_demo",
		"scard smap:proj:proj_demo:items",
		"smembers smap:proj:proj_demo:failed",
		"sismember smap:proj:proj_demo:items a1",
		"zrank identity:open-projects proj_demo",
	} {
		var args []any
		for word := range strings.FieldsSeq(command) {
			args = append(args, word)
		}
		reply, err := s.Redis().Do(t.Context(), args...).Result()
		require.NoError(t, err, command)
		lines, several := reply.([]any)
		if !several {
			lines = []any{reply}
		}
		session += "$ r " + command + "\n"
		for _, line := range lines {
			session += fmt.Sprintln(line)
		}
	}
	doctest.Equal(t, "one-project", session)
}
