package render_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
)

func remind(t *testing.T, locale string, days int, trialEnd time.Time) notification.Content {
	t.Helper()
	got, err := renderer(t).TrialEnding(locale, days, trialEnd)
	require.NoError(t, err)
	return got
}

func TestTrialEnding(t *testing.T) {
	t.Parallel()
	for locale, want := range map[string]struct{ subjects, phrases []string }{
		"en": {
			[]string{"Your SMAP trial ends in 1 day", "Your SMAP trial ends in 3 days"},
			[]string{"until 09:40 UTC on 31 January 2026", "Nothing is charged"},
		},
		"vi": {
			[]string{"Thời gian dùng thử SMAP của bạn còn 1 ngày", "Thời gian dùng thử SMAP của bạn còn 3 ngày"},
			[]string{"đến 09:40 (giờ UTC) ngày 31/01/2026", "không bị tính phí"},
		},
	} {
		t.Run("matches its golden files in "+locale, func(t *testing.T) {
			t.Parallel()
			compare(t, "trial_ending."+locale, remind(t, locale, 3, expires))
		})

		t.Run("says the same in both bodies in "+locale, func(t *testing.T) {
			t.Parallel()
			for i, days := range []int{1, 3} {
				got := remind(t, locale, days, expires)
				require.Equal(t, want.subjects[i], got.Subject)
				for _, phrase := range want.phrases {
					require.Contains(t, got.HTML, phrase)
					require.Contains(t, got.Text, phrase)
				}
				require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
			}
		})
	}

	t.Run("is English in an unknown locale", func(t *testing.T) {
		t.Parallel()
		for _, locale := range []string{"", "ja", "VI"} {
			require.Equal(t, remind(t, "en", 3, expires), remind(t, locale, 3, expires))
		}
	})

	t.Run("shows the time in UTC and never too late", func(t *testing.T) {
		t.Parallel()
		saigon := time.FixedZone("ICT", 7*60*60)
		require.Contains(t, remind(t, "en", 1, expires.Add(59*time.Second).In(saigon)).Text, "until 09:40 UTC on 31 January 2026")
	})

	t.Run("loads nothing", func(t *testing.T) {
		t.Parallel()
		for _, loader := range []string{"<img", "<link", "src=", "url(", "@import", "@font-face", "href="} {
			require.NotContains(t, remind(t, "vi", 3, expires).HTML, loader)
		}
	})
}
