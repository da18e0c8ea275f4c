package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func TestInternalKey(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.GET("/guarded", func(c echo.Context) error { return Success(c, http.StatusOK, nil) }, InternalKey("the-key"))
	b.GET("/unset", func(c echo.Context) error { return Success(c, http.StatusOK, nil) }, InternalKey(""))
	tests := []struct {
		name, path, header, value string
		status                    int
	}{
		{"its own header", "/guarded", "X-Internal-Key", "the-key", 200},
		{"bare Authorization", "/guarded", "Authorization", "the-key", 200},
		{"another key", "/guarded", "X-Internal-Key", "the-kez", 401},
		{"a part of it", "/guarded", "X-Internal-Key", "the-", 401},
		{"more than it", "/guarded", "X-Internal-Key", "the-key-and-more", 401},
		{"as a bearer", "/guarded", "Authorization", "Bearer the-key", 401},
		{"empty", "/guarded", "X-Internal-Key", "", 401},
		{"in a header of another name", "/guarded", "X-Key", "the-key", 401},
		{"no key is set, none sent", "/unset", "X-Internal-Key", "", 401},
		{"no key is set, one sent", "/unset", "X-Internal-Key", "the-key", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.log.Reset()
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.Header.Set(tt.header, tt.value)
			w := b.do(r)
			require.Equal(t, tt.status, w.Code)
			require.NotContains(t, w.Body.String()+b.log.String(), "the-key")
		})
	}
}
