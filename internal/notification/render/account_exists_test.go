package render_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccountExists(t *testing.T) {
	t.Parallel()
	for locale, phrase := range map[string]string{"en": "Nothing has changed", "vi": "Không có gì thay đổi"} {
		t.Run("matches its golden files in "+locale, func(t *testing.T) {
			t.Parallel()
			got, err := renderer(t).AccountExists(locale)
			require.NoError(t, err)
			compare(t, "account_exists."+locale, got)
			require.Contains(t, got.HTML, phrase)
			require.Contains(t, got.Text, phrase)
		})
	}
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	for locale, phrase := range map[string]string{"en": "only in the browser that asked for it", "vi": "chỉ trên trình duyệt đã yêu cầu mã"} {
		t.Run("matches its golden files in "+locale, func(t *testing.T) {
			t.Parallel()
			got, err := renderer(t).PasswordReset(locale, code, now, expires)
			require.NoError(t, err)
			compare(t, "password_reset."+locale, got)
			require.Contains(t, got.HTML, phrase)
			require.Contains(t, got.Text, phrase)
			require.NotContains(t, got.Subject, code, "mail servers log subjects")
		})
	}

	t.Run("is an error for an expired code", func(t *testing.T) {
		t.Parallel()
		_, err := renderer(t).PasswordReset("en", code, expires.Add(time.Second), expires)
		require.Error(t, err)
	})
}

func TestSecurityNotice(t *testing.T) {
	t.Parallel()
	for kind, phrases := range map[string]map[string]string{
		"password_changed": {"en": "Your password was changed", "vi": "đã được thay đổi"},
		"password_reset":   {"en": "Your password was reset", "vi": "đã được đặt lại"},
		"account_disabled": {"en": "Your account was disabled", "vi": "đã bị vô hiệu hóa"},
		"account_deleted":  {"en": "Your account was deleted", "vi": "đã bị xóa"},
	} {
		for locale, phrase := range phrases {
			t.Run(kind+" matches its golden files in "+locale, func(t *testing.T) {
				t.Parallel()
				got, err := renderer(t).SecurityNotice(locale, kind, expires)
				require.NoError(t, err)
				compare(t, "notice_"+kind+"."+locale, got)
				require.Contains(t, got.HTML, phrase)
				require.Contains(t, got.Text, phrase)
				require.Contains(t, got.Text, "09:40")
			})
		}
	}

	t.Run("is an error for a kind it does not know", func(t *testing.T) {
		t.Parallel()
		_, err := renderer(t).SecurityNotice("en", "promoted", expires)
		require.Error(t, err)
	})
}
