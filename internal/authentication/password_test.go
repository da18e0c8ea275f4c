package authentication_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	const short, long = "must have at least 8 characters", "must have at most 128 characters"
	const easy = "is too easy to guess; choose another, such as several words"
	for name, tc := range map[string]struct {
		password string
		problem  string
	}{
		"empty":                          {"", short},
		"seven":                          {"a1b2c3d", short},
		"eight":                          {"a1b2c3x9", ""},
		"characters count, not bytes":    {"mậtkhẩu", short},
		"eight characters":               {"mậtkhẩu1", ""},
		"spaces are characters":          {"a b c d ", ""},
		"beyond bcrypt's 72 bytes":       {strings.Repeat("pq", 37), ""},
		"128 characters":                 {strings.Repeat("ậb", 64), ""},
		"129 characters":                 {strings.Repeat("ab", 64) + "c", long},
		"the most common":                {"12345678", easy},
		"common":                         {"password", easy},
		"common, in capitals":            {"PassWord", easy},
		"eight spaces":                   {"        ", easy},
		"one character again and again":  {"ậậậậậậậậậ", easy},
		"the address":                    {"Lan.Nguyen@example.com", easy},
		"what is before the @":           {"lan.nguyen", easy},
		"with digits around it":          {"1LAN.Nguyen2026!", easy},
		"the product":                    {"smap2026", easy},
		"the product twice":              {"SmapSmap!", easy},
		"a sentence with the product":    {"smap makes my day", ""},
		"a sentence with the local part": {"lan.nguyen likes tea", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := authentication.CheckPassword(tc.password, " lan.nguyen@example.com")
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
			require.ErrorIs(t, authentication.CheckPassword(strings.ToUpper(w), ""), authentication.ErrBody, w)
		}
	})

	t.Run("needs no address", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, authentication.CheckPassword("12345@67", ""))
	})
}
