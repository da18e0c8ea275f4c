package render_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is 10 minutes before the code ends, less the time that a mail spends on its way to the renderer.
var (
	expires = time.Date(2026, time.January, 31, 9, 40, 0, 0, time.UTC)
	now     = expires.Add(-10 * time.Minute).Add(300 * time.Millisecond)
)

type mail struct {
	name   string
	render func(*render.Renderer, string, render.Code) (render.Rendered, error)
}

var mails = []mail{
	{"verification", (*render.Renderer).Verification},
}

func renderer(t *testing.T) *render.Renderer {
	t.Helper()
	r, err := render.New()
	require.NoError(t, err)
	return r
}

func TestGolden(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	for _, mail := range mails {
		for _, locale := range []string{"en", "vi"} {
			t.Run(mail.name+"."+locale, func(t *testing.T) {
				t.Parallel()
				got, err := mail.render(r, locale, render.Code{Code: "407182", Now: now, ExpiresAt: expires})
				require.NoError(t, err)
				compare(t, mail.name+"."+locale+".html", got.HTML)
				compare(t, mail.name+"."+locale+".txt", "Subject: "+got.Subject+"\n\n"+got.Text)
			})
		}
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update and read what it wrote")
	require.Equal(t, string(want), got)
}

func TestBothBodiesSayTheSame(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	says := map[string][]string{
		"en": {"407182", "valid for 10 minutes", "until 09:40 UTC on 31 January 2026", "you can ignore this email"},
		"vi": {"407182", "có hiệu lực trong 10 phút", "đến 09:40 (giờ UTC) ngày 31/01/2026", "bỏ qua email này"},
	}
	for _, mail := range mails {
		for locale, phrases := range says {
			t.Run(mail.name+"."+locale, func(t *testing.T) {
				t.Parallel()
				got, err := mail.render(r, locale, render.Code{Code: "407182", Now: now, ExpiresAt: expires})
				require.NoError(t, err)
				for _, phrase := range phrases {
					require.Contains(t, got.HTML, phrase)
					require.Contains(t, got.Text, phrase)
				}
				require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
				require.NotContains(t, got.Subject, "407182", "subjects end up in the logs of mail servers")
				require.NotContains(t, got.Subject, "\n")
			})
		}
	}
}

func TestUnknownLocaleIsEnglish(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	code := render.Code{Code: "407182", Now: now, ExpiresAt: expires}
	for _, mail := range mails {
		english, err := mail.render(r, "en", code)
		require.NoError(t, err)
		for _, locale := range []string{"", "ja", "VI", "en-GB", "../verification.vi"} {
			got, err := mail.render(r, locale, code)
			require.NoError(t, err)
			require.Equal(t, english, got, "%s in locale %q", mail.name, locale)
		}
	}
}

func TestHTMLIsEscapedAndTextIsNot(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	const hostile = `<script>alert("1")</script>&`
	for _, mail := range mails {
		got, err := mail.render(r, "en", render.Code{Code: hostile, Now: now, ExpiresAt: expires})
		require.NoError(t, err)
		require.NotContains(t, got.HTML, "<script")
		require.Contains(t, got.HTML, "&lt;script&gt;")
		require.Contains(t, got.Text, hostile)
	}
}

func TestHTMLLoadsNothing(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	for _, mail := range mails {
		got, err := mail.render(r, "vi", render.Code{Code: "407182", Now: now, ExpiresAt: expires})
		require.NoError(t, err)
		for _, loader := range []string{"<img", "<link", "src=", "url(", "@import", "@font-face", "href=", "ZgotmplZ"} {
			require.NotContains(t, got.HTML, loader)
		}
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	tests := []struct {
		left   time.Duration
		en, vi string
	}{
		{10 * time.Minute, "valid for 10 minutes,", "trong 10 phút,"},
		{9*time.Minute + 31*time.Second, "valid for 10 minutes,", "trong 10 phút,"},
		{9*time.Minute + 29*time.Second, "valid for 9 minutes,", "trong 9 phút,"},
		{time.Minute, "valid for 1 minute,", "trong 1 phút,"},
		{time.Second, "valid for 1 minute,", "trong 1 phút,"},
	}
	for _, tt := range tests {
		code := render.Code{Code: "407182", Now: expires.Add(-tt.left), ExpiresAt: expires}
		got, err := r.Verification("en", code)
		require.NoError(t, err)
		require.Contains(t, got.Text, tt.en, "%s left", tt.left)
		got, err = r.Verification("vi", code)
		require.NoError(t, err)
		require.Contains(t, got.Text, tt.vi, "%s left", tt.left)
	}
}

func TestTimeIsShownInUTCAndNeverLate(t *testing.T) {
	t.Parallel()
	saigon := time.FixedZone("ICT", 7*60*60)
	code := render.Code{Code: "407182", Now: now, ExpiresAt: expires.Add(59 * time.Second).In(saigon)}
	got, err := renderer(t).Verification("en", code)
	require.NoError(t, err)
	require.Contains(t, got.Text, "until 09:40 UTC on 31 January 2026")
}

func TestDeadCodeIsNotRendered(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	for _, mail := range mails {
		_, err := mail.render(r, "en", render.Code{Code: "407182", Now: expires, ExpiresAt: expires})
		require.ErrorContains(t, err, "expired")
		require.NotContains(t, err.Error(), "407182")
	}
}
