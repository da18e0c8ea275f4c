package httpserver

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func TestInternalKey(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.GET("/guarded", func(c echo.Context) error { return Success(c, http.StatusOK, nil) }, InternalKey("the-key"))
	b.GET("/unset", func(c echo.Context) error { return Success(c, http.StatusOK, nil) }, InternalKey("", ""))
	b.GET("/two", func(c echo.Context) error { return Success(c, http.StatusOK, nil) }, InternalKey("the-key", "the-key-before"))
	tests := []struct {
		name, path string
		header     []string
		status     int
	}{
		{"its own header", "/guarded", []string{"X-Internal-Key", "the-key"}, 200},
		{"bare Authorization", "/guarded", []string{"Authorization", "the-key"}, 200},
		{"another key", "/guarded", []string{"X-Internal-Key", "the-kez"}, 401},
		{"a part of it", "/guarded", []string{"X-Internal-Key", "the-"}, 401},
		{"more than it", "/guarded", []string{"X-Internal-Key", "the-key-and-more"}, 401},
		{"as a bearer", "/guarded", []string{"Authorization", "Bearer the-key"}, 401},
		{"empty", "/guarded", []string{"X-Internal-Key", ""}, 401},
		{"in a header of another name", "/guarded", []string{"X-Key", "the-key"}, 401},
		{"no key is set, none sent", "/unset", []string{"X-Internal-Key", ""}, 401},
		{"no key is set, one sent", "/unset", []string{"X-Internal-Key", "the-key"}, 401},

		{"wrong, and right in Authorization", "/guarded", []string{"X-Internal-Key", "old", "Authorization", "the-key"}, 200},
		{"right, and a token in Authorization", "/guarded", []string{"X-Internal-Key", "the-key", "Authorization", "Bearer x"}, 200},
		{"the second value", "/guarded", []string{"X-Internal-Key", "old", "X-Internal-Key", "the-key"}, 200},
		{"the first value", "/guarded", []string{"Authorization", "the-key", "Authorization", "Bearer x"}, 200},
		{"several wrong ones", "/guarded", []string{"X-Internal-Key", "a", "X-Internal-Key", "b", "Authorization", "c"}, 401},
		{"two keys, the first", "/two", []string{"X-Internal-Key", "the-key"}, 200},
		{"two keys, the other", "/two", []string{"X-Internal-Key", "the-key-before"}, 200},
		{"two keys, the other as Authorization", "/two", []string{"Authorization", "the-key-before"}, 200},
		{"two keys, a third", "/two", []string{"X-Internal-Key", "the-key-befor"}, 401},
		{"two keys, none sent", "/two", []string{"X-Internal-Key", ""}, 401},
		{"no key is set, several sent", "/unset", []string{"X-Internal-Key", "", "Authorization", ""}, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.log.Reset()
			w := b.do(request(http.MethodGet, tt.path, tt.header...))
			require.Equal(t, tt.status, w.Code)
			require.NotContains(t, w.Body.String()+b.log.String(), "the-key")
		})
	}
}
