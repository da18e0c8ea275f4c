package token_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

// rawSigned returns a token with these bytes as its header and its claims.
func rawSigned(t *testing.T, secret []byte, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := jwt.SigningMethodHS256.Sign(text, secret)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// A token that is not signed with the secret is refused, and of one that is, every byte counts.
func FuzzForge(f *testing.F) {
	const header = `{"alg":"HS256","typ":"JWT"}`
	claims, err := json.Marshal(valid())
	require.NoError(f, err)
	f.Add(header, string(claims), -1, byte('o'^'p')) // the last character has bits to spare
	f.Add(header, string(claims), -1, byte('\n'))
	f.Add(`{"alg":"none"}`, string(claims), 3, byte('.'))
	f.Add(`{"alg":"HS512"}`, string(claims), 3, byte('='))
	f.Add(`{"alg":"HS256","b64":false,"crit":["b64"]}`, `{"sub":"`+userID+`","type":"access","exp":1e99}`, 3, byte('\n'))
	f.Add(`{"alg":["HS256"]}`, `[]`, 3, byte('\r'))
	f.Add(header, `{"sub":"urn:uuid:`+userID+`","type":"access","exp":99999999999}`, 0, byte(1))
	f.Add(header, `{"sub":"{`+userID+`}","type":"access","exp":99999999999,"exp":null}`, 0, byte(1))
	f.Add(header, `{"sub":"`+userID+`","type":"access","exp":99999999999999999999,"iat":-1e300}`, 0, byte(1))
	f.Add(header, `{"sub":"`+userID+`","type":"access","exp":99999999999,"iat":1,"sid":"{`+userID+`}"}`, 0, byte(1))
	f.Add(header, `{"sub":"`+userID+`","type":"access","exp":99999999999,"sid":"x"}`, 0, byte(1))
	f.Fuzz(func(t *testing.T, header, claims string, at int, change byte) {
		issuer := issuerAt(start)
		refused := func(token, why string) {
			for _, check := range []func(string) (authentication.Claims, error){issuer.Check, issuer.CheckExpired} {
				got, err := check(token)
				require.ErrorIs(t, err, authentication.ErrUnauthenticated, "%s: %q", why, token)
				require.Empty(t, got)
			}
		}
		refused(header, "not signed")
		refused(header+"."+claims+".", "not signed")
		refused(rawSigned(t, []byte("another secret of thirty-two bytes!!"), header, claims), "another secret")

		token := rawSigned(t, secret, header, claims)
		at = (at%len(token) + len(token)) % len(token)
		refused(token[:at], "cut")
		refused(token[:at]+string(rune(change&0x7f))+token[at:], "a byte more")
		refused(token[:at]+token[at+1:], "a byte less")
		if change != 0 {
			tampered := []byte(token)
			tampered[at] ^= change
			refused(string(tampered), "tampered with")
		}

		got, err := issuer.Check(token)
		if err != nil {
			require.ErrorIs(t, err, authentication.ErrUnauthenticated)
			require.Empty(t, got)
			return
		}
		require.NoError(t, uuid.Validate(got.UserID))
		require.Equal(t, strings.ToLower(got.UserID), got.UserID)
		require.Len(t, got.UserID, 36)
		require.Contains(t, []int{0, 36}, len(got.SessionID))
		require.True(t, got.ExpiresAt.After(start.Add(-31*time.Second)))
		require.False(t, got.IssuedAt.After(start.Add(31*time.Second)))
		late, err := issuerAt(start.AddDate(10_000, 0, 0)).Check(token)
		require.Truef(t, err != nil || late == got, "the clock changes nothing but whether it is valid")
	})
}
