package authentication_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	user := authentication.User{FullName: "old\tname", AvatarURL: "old.png"}

	t.Run("keeps what changes", func(t *testing.T) {
		t.Parallel()
		long := "https://smap.example/" + strings.Repeat("ấ", 255-len("https://smap.example/"))
		for name, tt := range map[string]struct{ given, want authentication.Profile }{
			"nothing":               {},
			"the same":              {given: authentication.Profile{FullName: &user.FullName, AvatarURL: &user.AvatarURL}},
			"a name":                {profile("Nguyễn An", "-"), profile("Nguyễn An", "-")},
			"spaces around":         {profile(" An\n", " http://a.example/b "), profile("An", "http://a.example/b")},
			"removed":               {profile("", ""), profile("", "")},
			"removed by spaces":     {profile(" ", "\t"), profile("", "")},
			"as long as the column": {profile(strings.Repeat("ấ", 100), long), profile(strings.Repeat("ấ", 100), long)},
			"an avatar with a port": {profile("-", "HTTPS://a.example:8080/b?c=d#e"), profile("-", "HTTPS://a.example:8080/b?c=d#e")},
		} {
			got, err := tt.given.Changes(user)
			require.NoError(t, err, name)
			require.Equal(t, tt.want, got, name)
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		const name, avatar = "full_name", "avatar_url"
		for what, tt := range map[string]struct {
			given  authentication.Profile
			fields []string
		}{
			"a long name":            {profile(strings.Repeat("ấ", 101), "-"), []string{name}},
			"a line break in a name": {profile("An\nBinh", "-"), []string{name}},
			"a NUL":                  {profile("An\x00", "-"), []string{name}},
			"C1":                     {profile("An\u0085Binh", "-"), []string{name}},
			"a long avatar":          {profile("-", "https://a.example/"+strings.Repeat("a", 255)), []string{avatar}},
			"no URL":                 {profile("-", "a.png"), []string{avatar}},
			"a script":               {profile("-", "javascript:alert(1)"), []string{avatar}},
			"a zero byte":            {profile("-", "https://x.vn/#\x00"), []string{avatar}},
			"data":                   {profile("-", "data:text/html,a"), []string{avatar}},
			"no scheme":              {profile("-", "//a.example/b"), []string{avatar}},
			"no host":                {profile("-", "https:///b"), []string{avatar}},
			"a port alone":           {profile("-", "https://:80/b"), []string{avatar}},
			"a password":             {profile("-", "https://an:secret@a.example/b"), []string{avatar}},
			"a NUL in a URL":         {profile("-", "https://a.example/\x00"), []string{avatar}},
			"a space in a URL":       {profile("-", "https://a.example/a b"), []string{avatar}},
			"both":                   {profile("a\x7f", "a"), []string{name, avatar}},
		} {
			got, err := tt.given.Changes(user)
			require.ErrorIs(t, err, authentication.ErrProfile, what)
			require.Zero(t, got, what)
			var refused *apperror.Error
			require.ErrorAs(t, err, &refused)
			require.Len(t, refused.Fields, len(tt.fields), what)
			for _, field := range tt.fields {
				require.NotEmpty(t, refused.Fields[field], what)
			}
		}
	})
}

// profile returns a profile without the fields that are "-".
func profile(fullName, avatarURL string) (p authentication.Profile) {
	if fullName != "-" {
		p.FullName = &fullName
	}
	if avatarURL != "-" {
		p.AvatarURL = &avatarURL
	}
	return p
}
