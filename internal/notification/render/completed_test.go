package render_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification/render"
)

const projectID = "proj_019c1000-0000-7000-8000-00000000beef"

func completed(t *testing.T, locale string, total, done, errors int64) render.Rendered {
	t.Helper()
	got, err := renderer(t).ProjectCompleted(locale, render.Completion{
		ProjectID: projectID, Total: total, Done: done, Errors: errors,
	})
	require.NoError(t, err)
	return got
}

func TestGoldenProjectCompleted(t *testing.T) {
	t.Parallel()
	for _, locale := range []string{"en", "vi"} {
		t.Run(locale, func(t *testing.T) {
			t.Parallel()
			got := completed(t, locale, 100_000, 100_000, 1_234)
			compare(t, "project_completed."+locale+".html", got.HTML)
			compare(t, "project_completed."+locale+".txt", "Subject: "+got.Subject+"\n\n"+got.Text)
		})
	}
}

func TestWhatBecameOfTheInvitations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		total, done, errors int64
		subject             map[string]string
		heading             map[string]string
	}{
		"all sent": {
			1_000, 1_000, 0,
			map[string]string{"en": "Your SMAP invitations: 1,000 sent, 0 failed", "vi": "Lời mời SMAP của bạn: 1.000 đã gửi, 0 thất bại"},
			map[string]string{"en": "Your invitations have been sent\n", "vi": "Các lời mời của bạn đã được gửi\n"},
		},
		"some failed": {
			1_000_000, 1_000_000, 1,
			map[string]string{"en": "Your SMAP invitations: 999,999 sent, 1 failed", "vi": "Lời mời SMAP của bạn: 999.999 đã gửi, 1 thất bại"},
			map[string]string{"en": "Some invitations could not be sent\n", "vi": "Một số lời mời không gửi được\n"},
		},
		"none sent": {
			12, 12, 12,
			map[string]string{"en": "Your SMAP invitations: 0 sent, 12 failed", "vi": "Lời mời SMAP của bạn: 0 đã gửi, 12 thất bại"},
			map[string]string{"en": "None of your invitations could be sent\n", "vi": "Không gửi được lời mời nào\n"},
		},
	} {
		for _, locale := range []string{"en", "vi"} {
			got := completed(t, locale, test.total, test.done, test.errors)
			require.Equal(t, test.subject[locale], got.Subject, name)
			require.Contains(t, got.Text, test.heading[locale], name)
			require.Contains(t, got.Text, projectID, name)
			require.Contains(t, got.HTML, projectID, name)
			require.Contains(t, got.HTML, `<html lang="`+locale+`"`, name)
		}
	}
}

func TestProjectCompletedInAnUnknownLocaleIsEnglish(t *testing.T) {
	t.Parallel()
	english := completed(t, "en", 3, 3, 1)
	for _, locale := range []string{"", "ja", "../project_completed.vi"} {
		require.Equal(t, english, completed(t, locale, 3, 3, 1))
	}
}

func TestProjectCompletedIsEscapedAndLoadsNothing(t *testing.T) {
	t.Parallel()
	got, err := renderer(t).ProjectCompleted("en", render.Completion{ProjectID: `<img src="x">`, Total: 1, Done: 1})
	require.NoError(t, err)
	for _, loader := range []string{"<img", "<link", "url(", "@import", "@font-face", "href="} {
		require.NotContains(t, got.HTML, loader)
	}
	require.Contains(t, got.Text, `<img src="x">`)
}
