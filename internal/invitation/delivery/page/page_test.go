package page_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation/delivery/page"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func get(t *testing.T, path, language string) *httptest.ResponseRecorder {
	t.Helper()
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), Prefix: "/identity"})
	page.Register(e.Group(""))
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, path)
	return w
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, path := range []string{page.Accept, page.Progress, "/identity" + page.Accept} {
		t.Run(path+" runs its own script alone, in no frame", func(t *testing.T) {
			t.Parallel()
			w := get(t, path, "en")
			require.Equal(t, "text/html; charset=UTF-8", w.Header().Get("Content-Type"))
			policy := w.Header().Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "form-action 'none'"} {
				require.Contains(t, policy, part)
			}
			require.NotContains(t, policy, "unsafe")
			require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			body := w.Body.String()
			require.NotRegexp(t, `<style|<script>|\son\w+=|\sstyle=|https?://|(src|href)="/`, body)
		})
		t.Run(path+" speaks both languages", func(t *testing.T) {
			t.Parallel()
			english, vietnamese := get(t, path, "fr, en;q=0.5").Body.String(), get(t, path, "vi-VN,vi;q=0.9").Body.String()
			require.Contains(t, english, `<html lang="en">`)
			require.Contains(t, vietnamese, `<html lang="vi">`)
			require.NotContains(t, english+vietnamese, "&lt;no value&gt;")
			require.NotRegexp(t, `="">|<button></button>|<h1></h1>`, english+vietnamese)
			tags := regexp.MustCompile(`<[a-z]+`)
			require.Equal(t, tags.FindAllString(english, -1), tags.FindAllString(vietnamese, -1))
			require.NotContains(t, strings.ToLower(vietnamese), "password</label>")
		})
	}
	t.Run("brings its script and style", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, get(t, page.Accept+"/page.js", "").Header().Get("Content-Type"), "text/javascript")
		require.Contains(t, get(t, page.Accept+"/page.css", "").Header().Get("Content-Type"), "text/css")
		require.NotContains(t, get(t, page.Accept+"/page.js", "").Body.String(), "innerHTML")
	})
}
