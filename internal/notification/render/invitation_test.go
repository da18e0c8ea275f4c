package render_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification/render"
)

const (
	token = "q7vR2mXc0sYt4Kd8_w-Zaa"
	link  = "https://smap.example/accept-invitation?lang=vi&v=1#token=" + token
)

var invitations = map[string]render.Invitation{
	"invitation":       {Token: token, Link: link, ExpiresAt: expires},
	"invitation.token": {Token: token, ExpiresAt: expires},
}

func invite(t *testing.T, locale string, i render.Invitation) render.Rendered {
	t.Helper()
	got, err := renderer(t).Invitation(locale, i)
	require.NoError(t, err)
	return got
}

func TestGoldenInvitation(t *testing.T) {
	t.Parallel()
	for name, i := range invitations {
		for _, locale := range []string{"en", "vi"} {
			t.Run(name+"."+locale, func(t *testing.T) {
				t.Parallel()
				got := invite(t, locale, i)
				compare(t, name+"."+locale+".html", got.HTML)
				compare(t, name+"."+locale+".txt", "Subject: "+got.Subject+"\n\n"+got.Text)
			})
		}
	}
}

func TestBothBodiesOfAnInvitationSayTheSame(t *testing.T) {
	t.Parallel()
	says := map[string][]string{
		"en": {"SMAP", "valid until 09:40 UTC on 31 January 2026", "works once", "you can ignore this email"},
		"vi": {"SMAP", "đến 09:40 (giờ UTC) ngày 31/01/2026", "một lần", "bỏ qua email này"},
	}
	for _, i := range invitations {
		for locale, phrases := range says {
			got := invite(t, locale, i)
			for _, phrase := range phrases {
				require.Contains(t, got.HTML, phrase)
				require.Contains(t, got.Text, phrase)
			}
			require.Contains(t, got.HTML, `<html lang="`+locale+`"`)
			require.Contains(t, got.HTML, token)
			require.NotContains(t, got.Subject, token, "subjects end up in the logs of mail servers")
		}
	}
}

// With a page to accept it on, the token is in its address alone; without one it is shown to be copied.
func TestAnInvitationLeadsToItsPage(t *testing.T) {
	t.Parallel()
	linked := invite(t, "en", invitations["invitation"])
	require.Contains(t, linked.HTML, `href="https://smap.example/accept-invitation?lang=vi&amp;v=1#token=`+token+`"`)
	require.Contains(t, linked.Text, "    "+link+"\n")
	require.NotContains(t, linked.Text, "    "+token)

	bare := invite(t, "en", invitations["invitation.token"])
	require.NotContains(t, bare.HTML, "href")
	require.Contains(t, bare.HTML, ">"+token+"<")
	require.Contains(t, bare.Text, "    "+token+"\n")
	require.NotContains(t, bare.Text, "http")
}

func TestAnInvitationIsEscaped(t *testing.T) {
	t.Parallel()
	for _, hostile := range []render.Invitation{
		{Token: `"><script>alert(1)</script>`, ExpiresAt: expires},
		{Link: `https://smap.example/"><script>alert(1)</script>`, ExpiresAt: expires},
		{Link: `javascript:alert(1)`, ExpiresAt: expires},
	} {
		got := invite(t, "en", hostile)
		require.NotContains(t, got.HTML, "<script")
		require.NotContains(t, got.HTML, `href="javascript`)
		require.Contains(t, got.Text, hostile.Token)
	}
}

func TestAnInvitationLoadsNothing(t *testing.T) {
	t.Parallel()
	for _, i := range invitations {
		got := invite(t, "vi", i)
		for _, loader := range []string{"<img", "<link", "src=", "url(", "@import", "@font-face", "ZgotmplZ"} {
			require.NotContains(t, got.HTML, loader)
		}
	}
}

func TestAnInvitationInAnUnknownLocaleIsEnglish(t *testing.T) {
	t.Parallel()
	i := invitations["invitation"]
	for _, locale := range []string{"", "ja", "VI"} {
		require.Equal(t, invite(t, "en", i), invite(t, locale, i))
	}
	i.ExpiresAt = expires.Add(59 * time.Second).In(time.FixedZone("ICT", 7*60*60))
	require.Contains(t, invite(t, "en", i).Text, "until 09:40 UTC on 31 January 2026", "in UTC and never late")
}
