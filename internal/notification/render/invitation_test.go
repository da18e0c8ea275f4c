package render_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
)

const (
	token = "q7vR2mXc0sYt4Kd8_w-Zaa"
	link  = "https://smap.example/accept-invitation?lang=vi&v=1#token=" + token
)

// invitationLinks has the link of each golden file.
var invitationLinks = map[string]string{"invitation": link, "invitation.token": ""}

func invite(t *testing.T, locale, token, link string, expiresAt time.Time) notification.Content {
	t.Helper()
	got, err := renderer(t).Invitation(locale, token, link, expiresAt)
	require.NoError(t, err)
	return got
}

func TestInvitation(t *testing.T) {
	t.Parallel()
	for name, link := range invitationLinks {
		for locale, phrases := range map[string][]string{
			"en": {"SMAP", "valid until 09:40 UTC on 31 January 2026", "works once", "you can ignore this email"},
			"vi": {"SMAP", "đến 09:40 (giờ UTC) ngày 31/01/2026", "một lần", "bỏ qua email này"},
		} {
			t.Run("matches its golden files: "+name+"."+locale, func(t *testing.T) {
				t.Parallel()
				compare(t, name+"."+locale, invite(t, locale, token, link, expires))
			})

			t.Run("says the same in both bodies: "+name+"."+locale, func(t *testing.T) {
				t.Parallel()
				got := invite(t, locale, token, link, expires)
				for _, phrase := range phrases {
					require.Contains(t, got.HTML, phrase)
					require.Contains(t, got.Text, phrase)
				}
				require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
				require.Contains(t, got.HTML, token)
				require.NotContains(t, got.Subject, token, "mail servers log subjects")
			})
		}
	}

	t.Run("with a link shows the token in the link alone", func(t *testing.T) {
		t.Parallel()
		got := invite(t, "en", token, link, expires)
		require.Contains(t, got.HTML, `href="https://smap.example/accept-invitation?lang=vi&amp;v=1#token=`+token+`"`)
		require.Contains(t, got.Text, "    "+link+"\n")
		require.NotContains(t, got.Text, "    "+token)
	})

	t.Run("without a link shows the token to be copied", func(t *testing.T) {
		t.Parallel()
		got := invite(t, "en", token, "", expires)
		require.NotContains(t, got.HTML, "href")
		require.Contains(t, got.HTML, ">"+token+"<")
		require.Contains(t, got.Text, "    "+token+"\n")
		require.NotContains(t, got.Text, "http")
	})

	t.Run("escapes the HTML and not the text", func(t *testing.T) {
		t.Parallel()
		for _, hostile := range []struct{ token, link string }{
			{`"><script>alert(1)</script>`, ""},
			{"", `https://smap.example/"><script>alert(1)</script>`},
			{"", `javascript:alert(1)`},
		} {
			got := invite(t, "en", hostile.token, hostile.link, expires)
			require.NotContains(t, got.HTML, "<script")
			require.NotContains(t, got.HTML, `href="javascript`)
			require.Contains(t, got.Text, hostile.token)
		}
	})

	t.Run("loads nothing", func(t *testing.T) {
		t.Parallel()
		for _, link := range invitationLinks {
			got := invite(t, "vi", token, link, expires)
			for _, loader := range []string{"<img", "<link", "src=", "url(", "@import", "@font-face", "ZgotmplZ"} {
				require.NotContains(t, got.HTML, loader)
			}
		}
	})

	t.Run("is English in an unknown locale", func(t *testing.T) {
		t.Parallel()
		english := invite(t, "en", token, link, expires)
		for _, locale := range []string{"", "ja", "VI"} {
			require.Equal(t, english, invite(t, locale, token, link, expires))
		}
	})

	t.Run("shows the time in UTC and never too late", func(t *testing.T) {
		t.Parallel()
		saigon := time.FixedZone("ICT", 7*60*60)
		got := invite(t, "en", token, link, expires.Add(59*time.Second).In(saigon))
		require.Contains(t, got.Text, "until 09:40 UTC on 31 January 2026")
	})
}
