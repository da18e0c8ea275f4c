package authentication_test

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/smap-platform/identity/internal/authentication"
)

// Everything that is mailed is an address as ParseEmail returns it: one line, one address, no way out of a header.
func FuzzEmail(f *testing.F) {
	for _, seed := range []string{
		"an@example.com", " An.Nguyen@Example.COM\t", "a.n+smap@mail.example.com", "an@example.com\r\nBcc: all@example.com",
		"An <an@example.com>", `"an@home"@example.com`, "an(home)@example.com", "an@[127.0.0.1]", "an@b@example.com",
		"a..b@example.com", "an@example.com\u2028", "ａn@example.com", "an@ex\u00e4mple.com", "an@xn--exmple-cua.com", "=?utf-8?q?an?=@x.vn",
		"foo..bar@example.com", "a.@example.com", ".a@example.com", strings.Repeat("b", 70) + "@example.com", "an@example.com.", "an@.example.com", "\u0130@x.vn", "\xff@x.vn", strings.Repeat("l", 64) + "@" + strings.Repeat("d", 185) + ".com",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		looked, typedErr := authentication.TypedEmail(typed)
		if typedErr == nil {
			require.True(t, utf8.ValidString(looked))
			require.False(t, strings.ContainsFunc(looked, unicode.IsControl))
			again, err := authentication.TypedEmail(looked)
			require.NoError(t, err)
			require.Equal(t, looked, again)
		}
		stored, err := authentication.ParseEmail(typed)
		if err != nil {
			require.ErrorIs(t, err, authentication.ErrInvalidEmail)
			return
		}
		require.NoError(t, typedErr, "who has registered can log in")
		require.Equal(t, looked, stored)
		local, domain, _ := strings.Cut(stored, "@")
		require.LessOrEqual(t, len(stored), 254)
		require.LessOrEqual(t, len(local), 64)
		require.NotEmpty(t, local)
		require.Contains(t, domain, ".")
		require.False(t, strings.ContainsFunc(stored, func(r rune) bool { return r <= ' ' || r > '~' }))
		require.False(t, strings.ContainsAny(local+domain, `@<>()[],;:\"`), "nothing of it can be read as a second address")
		again, err := authentication.ParseEmail(stored)
		require.NoError(t, err)
		require.Equal(t, stored, again)
	})
}

func FuzzPassword(f *testing.F) {
	for _, seed := range []string{
		"correct horse", "12345678", "password", "        ", "mậtkhẩu-dài-12", norm.NFD.String("mậtkhẩu-dài-12"), "Mật khẩu dài", norm.NFD.String("Mật khẩu dài"), "smap-2026!", "an@example.com", "aaaaaaaa",
		"ＳＭＡＰ１２３４", "ｶﾞｶﾞｶﾞｶﾞ", "\U0001d6c2\u0313\u0342\u0345\U0001d6c2\u0313\u0342\u0345", "ﾡￂﾡￂﾡￂﾡￂ", "\x00\x00\x00\x00\x00\x00\x00\x01",
		"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", strings.Repeat("dai ", 32), strings.Repeat("x̂", 128), "İİİİİİİİ", "\u0301\u0301\u0301\u0301\u0301\u0301\u0301b",
	} {
		f.Add(seed, "an@example.com")
	}
	f.Add("an.nguyen1", "An.Nguyen+smap@example.com")
	f.Fuzz(func(t *testing.T, password, email string) {
		var rules authentication.PasswordRules
		err := rules.Check(password, email)
		composed := norm.NFC.String(password)
		require.Equal(t, err, rules.Check(composed, email), "how characters are composed makes no difference")
		require.Equal(t, err, rules.Check(password, " "+email+"\n"))
		if err != nil {
			require.ErrorIs(t, err, authentication.ErrBody)
			return
		}
		chars := utf8.RuneCountInString(composed)
		require.GreaterOrEqual(t, chars, authentication.MinPasswordChars)
		require.LessOrEqual(t, chars, authentication.MaxPasswordChars)
		if _, err := authentication.ParseEmail(email); err == nil {
			require.False(t, strings.EqualFold(password, strings.TrimSpace(email)), "it is the address")
		}
		require.Error(t, authentication.PasswordRules{MinChars: chars + 1}.Check(password, email), "the setting counts alike")
	})
}

func FuzzClient(f *testing.F) {
	digestible := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("b", 32)))
	for _, value := range []string{
		digestible, digestible + "=", digestible[:42] + "J", digestible[:20] + "\r\n" + digestible[20:], "", "\xff", authentication.NewBrowser(),
		strings.Repeat("+", 43), strings.Repeat("_", 43), strings.Repeat("A", 43), digestible + digestible,
	} {
		f.Add(value, []byte{192, 0, 2, 1})
	}
	f.Add("", []byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add("", []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01"))
	f.Fuzz(func(t *testing.T, value string, ip []byte) {
		address, _ := netip.AddrFromSlice(ip)
		c := authentication.Client{IP: address, Browsers: []string{value}}
		if _, ok := authentication.BrowserDigest(value); ok {
			raw, err := base64.RawURLEncoding.DecodeString(value)
			require.NoError(t, err)
			require.Equal(t, value, base64.RawURLEncoding.EncodeToString(raw), "a browser has one name")
			require.Equal(t, value, c.Browser())
			require.Len(t, c.BrowserDigests(), 1)
		} else {
			require.NotEqual(t, value, c.Browser())
			require.Empty(t, c.BrowserDigests())
		}
		if !address.IsValid() {
			require.Empty(t, c.Network())
			return
		}
		network, err := netip.ParsePrefix(c.Network())
		require.NoError(t, err)
		require.Equal(t, network.Masked(), network)
		require.True(t, network.Contains(address.Unmap()))
		require.Equal(t, map[bool]int{true: 24, false: 64}[address.Unmap().Is4()], network.Bits())
	})
}

func FuzzProfile(f *testing.F) {
	for _, seed := range [][2]string{
		{"An Nguyen", "https://x.vn/a.png"}, {" ", ""}, {"An\nB", "javascript:alert(1)"}, {"\u202eAn", "http://u:p@x.vn"}, {"", "HTTPS://x.vn"},
		{"", "https:x.vn"}, {"", "http://x.vn#\x00"}, {"", "https://x.vn/\u2028"}, {"", "https://[::1%25en0]/"}, {strings.Repeat("ạ", 101), "http://" + strings.Repeat("x", 250)},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, avatar string) {
		u := authentication.User{FullName: "An", AvatarURL: "https://x.vn/old.png"}
		changed, err := authentication.Profile{FullName: &name, AvatarURL: &avatar}.Changes(u)
		if err != nil {
			require.ErrorIs(t, err, authentication.ErrProfile)
			return
		}
		if changed.FullName != nil {
			u.FullName = *changed.FullName
		}
		if changed.AvatarURL != nil {
			u.AvatarURL = *changed.AvatarURL
		}
		require.LessOrEqual(t, utf8.RuneCountInString(u.FullName), 100)
		require.LessOrEqual(t, utf8.RuneCountInString(u.AvatarURL), 255)
		require.False(t, strings.ContainsFunc(u.FullName+u.AvatarURL, unicode.IsControl))
		scheme, _, _ := strings.Cut(strings.ToLower(u.AvatarURL), "://")
		require.Contains(t, []string{"", "http", "https"}, scheme)
		again, err := authentication.Profile{FullName: &u.FullName, AvatarURL: &u.AvatarURL}.Changes(u)
		require.NoError(t, err)
		require.Equal(t, authentication.Profile{}, again, "what is stored stays as it is")
	})
}
