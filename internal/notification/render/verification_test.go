package render_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/render"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var _ notification.Renderer = (*render.Renderer)(nil)

// now is 10 minutes before the code expires, less the time that a mail spends on its way to the renderer.
var (
	expires = time.Date(2026, time.January, 31, 9, 40, 0, 0, time.UTC)
	now     = expires.Add(-10 * time.Minute).Add(300 * time.Millisecond)
)

const code = "407182"

func renderer(t *testing.T) *render.Renderer {
	t.Helper()
	r, err := render.New()
	require.NoError(t, err)
	return r
}

// compare checks both bodies against their golden files.
func compare(t *testing.T, name string, got notification.Content) {
	t.Helper()
	for file, text := range map[string]string{
		name + ".html": got.HTML,
		name + ".txt":  "Subject: " + got.Subject + "\n\n" + got.Text,
	} {
		path := filepath.Join("testdata", file)
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err, "run the test with -update and read what it wrote")
		require.Equal(t, string(want), text)
	}
}

func verify(t *testing.T, locale, code string, now, expiresAt time.Time) notification.Content {
	t.Helper()
	got, err := renderer(t).Verification(locale, code, now, expiresAt)
	require.NoError(t, err)
	return got
}

func TestVerification(t *testing.T) {
	t.Parallel()
	for locale, phrases := range map[string][]string{
		"en": {code, "valid for 10 minutes", "until 09:40 UTC on 31 January 2026", "you can ignore this email"},
		"vi": {code, "có hiệu lực trong 10 phút", "đến 09:40 (giờ UTC) ngày 31/01/2026", "bỏ qua email này"},
	} {
		t.Run("matches its golden files in "+locale, func(t *testing.T) {
			t.Parallel()
			compare(t, "verification."+locale, verify(t, locale, code, now, expires))
		})

		t.Run("says the same in both bodies in "+locale, func(t *testing.T) {
			t.Parallel()
			got := verify(t, locale, code, now, expires)
			for _, phrase := range phrases {
				require.Contains(t, got.HTML, phrase)
				require.Contains(t, got.Text, phrase)
			}
			require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
			require.NotContains(t, got.Subject, code, "mail servers log subjects")
			require.NotContains(t, got.Subject, "\n")
		})
	}

	t.Run("is English in an unknown locale", func(t *testing.T) {
		t.Parallel()
		english := verify(t, "en", code, now, expires)
		for _, locale := range []string{"", "ja", "VI", "en-GB", "../verification.vi"} {
			require.Equal(t, english, verify(t, locale, code, now, expires), "locale %q", locale)
		}
	})

	t.Run("escapes the HTML and not the text", func(t *testing.T) {
		t.Parallel()
		const hostile = `<script>alert("1")</script>&`
		got := verify(t, "en", hostile, now, expires)
		require.NotContains(t, got.HTML, "<script")
		require.Contains(t, got.HTML, "&lt;script&gt;")
		require.Contains(t, got.Text, hostile)
	})

	t.Run("loads nothing", func(t *testing.T) {
		t.Parallel()
		got := verify(t, "vi", code, now, expires)
		for _, loader := range []string{"<img", "<link", "src=", "url(", "@import", "@font-face", "href=", "ZgotmplZ"} {
			require.NotContains(t, got.HTML, loader)
		}
	})

	t.Run("shows the minutes left", func(t *testing.T) {
		t.Parallel()
		for left, want := range map[time.Duration]struct{ en, vi string }{
			10 * time.Minute:               {"valid for 10 minutes,", "trong 10 phút,"},
			9*time.Minute + 31*time.Second: {"valid for 10 minutes,", "trong 10 phút,"},
			9*time.Minute + 29*time.Second: {"valid for 9 minutes,", "trong 9 phút,"},
			time.Minute:                    {"valid for 1 minute,", "trong 1 phút,"},
			time.Second:                    {"valid for 1 minute,", "trong 1 phút,"},
		} {
			require.Contains(t, verify(t, "en", code, expires.Add(-left), expires).Text, want.en, "%s left", left)
			require.Contains(t, verify(t, "vi", code, expires.Add(-left), expires).Text, want.vi, "%s left", left)
		}
	})

	t.Run("shows the time in UTC and never too late", func(t *testing.T) {
		t.Parallel()
		saigon := time.FixedZone("ICT", 7*60*60)
		got := verify(t, "en", code, now, expires.Add(59*time.Second).In(saigon))
		require.Contains(t, got.Text, "until 09:40 UTC on 31 January 2026")
	})

	t.Run("refuses an expired code", func(t *testing.T) {
		t.Parallel()
		_, err := renderer(t).Verification("en", code, expires, expires)
		require.ErrorContains(t, err, "expired")
		require.NotContains(t, err.Error(), code)
	})
}
