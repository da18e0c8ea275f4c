package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestLocale(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ lang, accept, want string }{
		"nothing":                         {"", "", "en"},
		"header":                          {"vi", "", "vi"},
		"header before browser":           {"en", "vi", "en"},
		"header in capitals":              {"VI", "", "vi"},
		"header with a region":            {"vi-VN", "", "vi"},
		"unknown header, browser decides": {"ja", "vi-VN,vi;q=0.9,en;q=0.8", "vi"},
		"broken header, browser decides":  {"\"<>", "vi", "vi"},
		"browser":                         {"", "vi", "vi"},
		"browser by weight":               {"", "en;q=0.5, vi;q=0.9", "vi"},
		"browser's second choice":         {"", "ja, vi;q=0.5", "vi"},
		"browser knows neither":           {"", "ja,de;q=0.5", "en"},
		"browser sends nonsense":          {"", ";;;q=,", "en"},
		"browser takes everything":        {"", "*", "en"},
		"browser sends very much":         {"", strings.Repeat("vi-", 10_000), "en"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("lang", tc.lang)
			r.Header.Set("Accept-Language", tc.accept)
			require.Equal(t, tc.want, httpserver.Locale(r))
		})
	}
}
