package authentication_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

func TestPasswordRules(t *testing.T) {
	t.Parallel()
	const short, long = "must have at least 8 characters", "must have at most 128 characters"
	const easy = "is too easy to guess; choose another, such as several words"
	for name, tc := range map[string]struct {
		password string
		problem  string
	}{
		"empty":                           {"", short},
		"seven":                           {"a1b2c3d", short},
		"eight":                           {"a1b2c3x9", ""},
		"characters count, not bytes":     {"mậtkhẩu", short},
		"eight characters":                {"mậtkhẩu1", ""},
		"spaces are characters":           {"a b c d ", ""},
		"beyond bcrypt's 72 bytes":        {strings.Repeat("pqrst", 15), ""},
		"128 characters":                  {strings.Repeat("ậbcdefgh", 16), ""},
		"129 characters":                  {strings.Repeat("ab", 64) + "c", long},
		"the most common":                 {"12345678", easy},
		"common":                          {"password", easy},
		"common, in capitals":             {"PassWord", easy},
		"eight spaces":                    {"        ", easy},
		"one character again and again":   {"ậậậậậậậậậ", easy},
		"the address":                     {"Lan.Nguyen+News@example.com", easy},
		"what is before the @":            {"lan.nguyen", easy},
		"with digits around it":           {"1LAN.Nguyen2026!", easy},
		"without its dot":                 {"lannguyen_1", easy},
		"with what is behind the +":       {"lan.nguyen+news", easy},
		"full-width letters":              {"ｐａｓｓｗｏｒｄ", easy},
		"decomposed, one again and again": {strings.Repeat("a\u0323\u0302", 9), easy},
		"decomposed, seven":               {norm.NFD.String("mậtkhẩu"), short},
		"decomposed, 128":                 {norm.NFD.String(strings.Repeat("ậbcdefgh", 16)), ""},
		"two characters again and again":  {"4x4x4x4x4", easy},
		"four again and again, cut off":   {"k9w2k9w2k9", easy},
		"five again and again":            {"k9w2qk9w2q", ""},
		"an alphabet":                     {"fghijklmn", easy},
		"backwards":                       {"zyxwvuts", easy},
		"digits in order":                 {"23456789", easy},
		"invalid UTF-8":                   {"\xff\xfe\xff\xfd12345", ""},
		"the product":                     {"smap2026", easy},
		"the product, spread":             {"S.M.A.P 2026", easy},
		"the product twice":               {"SmapSmap!", easy},
		"a sentence with the product":     {"smap makes my day", ""},
		"a sentence with the local part":  {"lan.nguyen likes tea", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := authentication.PasswordRules{}.Check(tc.password, " lan.nguyen+news@example.com")
			if tc.problem == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, authentication.ErrBody)
			require.Equal(t, map[string]string{"password": tc.problem}, apperror.From(err).Fields)
		})
	}

	t.Run("knows at least 3,000 common ones of 8 characters and more", func(t *testing.T) {
		t.Parallel()
		text, err := os.ReadFile("common_passwords.txt")
		require.NoError(t, err)
		words := strings.Fields(string(text))
		require.Greater(t, len(words), 3_000)
		for _, w := range words {
			require.ErrorIs(t, authentication.PasswordRules{}.Check(strings.ToUpper(w), ""), authentication.ErrBody, w)
		}
	})

	t.Run("knows addresses of digits", func(t *testing.T) {
		t.Parallel()
		require.Error(t, authentication.PasswordRules{}.Check("0912345678!", "0912345678@example.com"))
	})

	t.Run("does not look for names of one or two letters", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, authentication.PasswordRules{}.Check("a9041#73", "a@example.com"))
	})

	t.Run("can ask for more characters, never for fewer", func(t *testing.T) {
		t.Parallel()
		for least, password := range map[int]string{15: "fourteen chars", 3: "seven_c"} {
			rules := authentication.PasswordRules{MinChars: least}
			problem := fmt.Sprintf("must have at least %d characters", max(least, authentication.MinPasswordChars))
			require.Equal(t, map[string]string{"new": problem}, apperror.From(rules.CheckField("new", password, "")).Fields)
			require.NoError(t, rules.Check(password+"!", ""))
		}
	})

	t.Run("needs no address", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, authentication.PasswordRules{}.Check("12345@67", ""))
	})
}
