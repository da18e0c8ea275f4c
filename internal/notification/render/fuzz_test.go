package render_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/render"
)

// An event's own texts are shown in its mail as they are, and are no markup.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{"proj_1", `<script>alert(1)</script>`, `"><img src=x onerror=1>`, "&lt;", "{{.}}", "\u202e", "</title>", "javascript:x", "'\"`"} {
		f.Add(seed, "en", int64(100_000), int64(3))
	}
	f.Add("p", "vi", int64(-1), int64(1<<62))
	f.Add("p", "../en", int64(0), int64(0))
	r, err := render.New()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, id, locale string, done, errors int64) {
		if errors < 0 {
			return
		}
		completed := func(id string) notification.Content {
			content, err := r.ProjectCompleted(locale, notification.Completion{ProjectID: id, Total: done, Done: done, Errors: errors})
			require.NoError(t, err)
			return content
		}
		got, plain := completed(id), completed("x")
		require.Equal(t, strings.Count(plain.HTML, "<"), strings.Count(got.HTML, "<"))
		require.Equal(t, strings.Count(plain.HTML, ">"), strings.Count(got.HTML, ">"))
		require.Contains(t, got.Text, id)
		require.False(t, strings.ContainsFunc(got.Subject, unicode.IsControl) && !strings.ContainsFunc(id, unicode.IsControl))
		require.NotEmpty(t, got.Subject)
	})
}
