package authentication_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestParseEmail(t *testing.T) {
	t.Parallel()

	t.Run("accepts", func(t *testing.T) {
		t.Parallel()
		longest := strings.Repeat("l", 64) + "@" + strings.Repeat("d", 254-64-1-4) + ".com"
		require.Len(t, longest, 254)
		for name, tc := range map[string]struct{ in, want string }{
			"plain":                  {"an@example.com", "an@example.com"},
			"upper case":             {"An.Nguyen@Example.COM", "An.Nguyen@Example.COM"},
			"spaces around":          {"  an@example.com\t", "an@example.com"},
			"line break at the end":  {"an@example.com\r\n", "an@example.com"},
			"plus and dots":          {"a.n+smap@mail.example.com", "a.n+smap@mail.example.com"},
			"longest local and all":  {longest, longest},
			"hyphen and digits":      {"a-1@ex-4mple.vn", "a-1@ex-4mple.vn"},
			"unusual but legal atom": {"o'neil_!#@example.com", "o'neil_!#@example.com"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got, err := authentication.ParseEmail(tc.in)
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			})
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		for name, in := range map[string]string{
			"empty":                      "",
			"only spaces":                "   ",
			"no at":                      "example.com",
			"no local part":              "@example.com",
			"no domain":                  "an@",
			"domain without a dot":       "an@localhost",
			"two ats":                    "an@b@example.com",
			"header injection, CRLF":     "an@example.com\r\nBcc: all@example.com",
			"header injection, LF":       "an@example.com\nBcc: all@example.com",
			"header injection, CR":       "an@example.com\rBcc: all@example.com",
			"header injection in local":  "an\r\n@example.com",
			"NUL":                        "an\x00@example.com",
			"DEL":                        "an\x7f@example.com",
			"tab inside":                 "a\tn@example.com",
			"space inside":               "a n@example.com",
			"display name":               "An <an@example.com>",
			"angle brackets":             "<an@example.com>",
			"comment":                    "an(home)@example.com",
			"quoted local part":          `"an"@example.com`,
			"quoted local part with at":  `"an@home"@example.com`,
			"list, comma":                "an@example.com,binh@example.com",
			"list, semicolon":            "an@example.com;binh@example.com",
			"group":                      "all:an@example.com;",
			"mailto":                     "mailto:an@example.com",
			"encoded word":               "=?utf-8?q?an?= <an@example.com>",
			"address literal":            "an@[192.168.0.1]",
			"double dot":                 "a..n@example.com",
			"leading dot":                ".an@example.com",
			"double dot in domain":       "an@example..com",
			"trailing dot in domain":     "an@example.com.",
			"not ASCII in local part":    "ân@example.com",
			"not ASCII in domain":        "an@exämple.com",
			"right-to-left override":     "an\u202e@example.com",
			"line separator":             "an@example.com\u2028Bcc: x",
			"invalid UTF-8":              "an\xff@example.com",
			"local part of 65":           strings.Repeat("l", 65) + "@example.com",
			"255 bytes":                  "an@" + strings.Repeat("d", 255-3-4) + ".com",
			"a megabyte":                 strings.Repeat("a", 1<<20) + "@example.com",
			"percent-encoded line break": "an%0d%0a@example.com ,",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got, err := authentication.ParseEmail(in)
				require.ErrorIs(t, err, authentication.ErrInvalidEmail)
				require.Empty(t, got)
			})
		}
	})
}

func TestTypedEmail(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"plain":              "an@example.com",
		"upper case":         "An@Example.COM",
		"spaces around":      "  an@example.com\t",
		"dots in a row":      "foo..bar@example.com",
		"dot before the at":  "a.@example.com",
		"dot at the start":   ".a@example.com",
		"70 before the at":   strings.Repeat("b", 70) + "@example.com",
		"255 characters":     strings.Repeat("b", 243) + "@example.com",
		"not ASCII":          "ân@example.com",
		"without a dot":      "an@localhost",
		"no address any way": "Some Body <an@example.com>, another",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := authentication.TypedEmail(in)
			require.NoError(t, err)
			require.Equal(t, strings.TrimSpace(in), got)
		})
	}
	for name, in := range map[string]string{
		"empty": "", "only spaces": "  ", "no at": "an", "NUL": "an\x00@example.com", "line break": "an@example.com\r\nBcc: x",
		"DEL": "an\x7f@example.com", "invalid UTF-8": "an\xff@example.com",
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			_, err := authentication.TypedEmail(in)
			require.ErrorIs(t, err, authentication.ErrInvalidEmail)
		})
	}
}

func TestUserInvited(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user authentication.User
		want bool
	}{
		"neither active nor a password": {authentication.User{}, true},
		"active":                        {authentication.User{Active: true}, false},
		"a password":                    {authentication.User{PasswordHash: "x"}, false},
		"both":                          {authentication.User{Active: true, PasswordHash: "x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.user.Invited())
		})
	}
}
