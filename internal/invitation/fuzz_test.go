package invitation_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func FuzzToken(f *testing.F) {
	token, _ := key.NewToken()
	for _, seed := range []string{
		token, token + "=", token[:42], " " + token, token[:20] + "\n" + token[20:], strings.Repeat("A", 42) + "B", strings.Repeat("+", 43), "\xff", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		digests, err := key.Digests(token)
		if err != nil {
			require.ErrorIs(t, err, invitation.ErrInvalid)
			require.Empty(t, digests)
			return
		}
		raw, err := base64.RawURLEncoding.DecodeString(token)
		require.NoError(t, err)
		require.Equal(t, token, base64.RawURLEncoding.EncodeToString(raw), "a token has one spelling")
	})
}
