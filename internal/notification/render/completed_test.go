package render_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
)

const projectID = "proj_019c1000-0000-7000-8000-00000000beef"

func completed(t *testing.T, locale, projectID string, total, done, errors int64) notification.Content {
	t.Helper()
	got, err := renderer(t).ProjectCompleted(locale, notification.Completion{
		ProjectID: projectID,
		Total:     total,
		Done:      done,
		Errors:    errors,
	})
	require.NoError(t, err)
	return got
}

func TestProjectCompleted(t *testing.T) {
	t.Parallel()
	for _, locale := range []string{"en", "vi"} {
		t.Run("matches its golden files in "+locale, func(t *testing.T) {
			t.Parallel()
			compare(t, "project_completed."+locale, completed(t, locale, projectID, 100_000, 100_000, 1_234))
		})
	}

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
		t.Run("says what became of the invitations: "+name, func(t *testing.T) {
			t.Parallel()
			for _, locale := range []string{"en", "vi"} {
				got := completed(t, locale, projectID, test.total, test.done, test.errors)
				require.Equal(t, test.subject[locale], got.Subject)
				require.Contains(t, got.Text, test.heading[locale])
				require.Contains(t, got.Text, projectID)
				require.Contains(t, got.HTML, projectID)
				require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
			}
		})
	}

	t.Run("is English in an unknown locale", func(t *testing.T) {
		t.Parallel()
		english := completed(t, "en", projectID, 3, 3, 1)
		for _, locale := range []string{"", "ja", "../project_completed.vi"} {
			require.Equal(t, english, completed(t, locale, projectID, 3, 3, 1))
		}
	})

	t.Run("escapes the HTML and loads nothing", func(t *testing.T) {
		t.Parallel()
		got := completed(t, "en", `<img src="x">`, 1, 1, 0)
		for _, loader := range []string{"<img", "<link", "url(", "@import", "@font-face", "href="} {
			require.NotContains(t, got.HTML, loader)
		}
		require.Contains(t, got.Text, `<img src="x">`)
	})
}
