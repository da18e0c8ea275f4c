package token_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/token"
	"github.com/smap-platform/identity/pkg/apperror"
)

var _ authentication.TokenIssuer = (*token.Issuer)(nil)

const (
	userID    = "019c1000-0000-7000-8000-000000000001"
	sessionID = "019c1000-0000-7000-8000-000000000002"
)

var (
	secret = []byte("a secret of at least thirty-two bytes")
	start  = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	user   = authentication.User{ID: userID, Email: "an@example.com", Role: authentication.RoleAdmin}
)

type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

func issuerAt(now time.Time) *token.Issuer {
	return token.New(token.Options{Secret: secret, Clock: &fakeClock{now}})
}

// issue returns a token of a session that is valid for two hours from start on.
func issue(t *testing.T) string {
	t.Helper()
	issued, err := issuerAt(start).Issue(user, sessionID, start, start.Add(2*time.Hour))
	require.NoError(t, err)
	return issued
}

func part(t *testing.T, signed string, i int) map[string]json.RawMessage {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(signed, ".")[i])
	require.NoError(t, err)
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &m))
	return m
}

func TestIssue(t *testing.T) {
	t.Parallel()

	t.Run("writes exactly the agreed claims", func(t *testing.T) {
		t.Parallel()
		issued := issue(t)
		header := part(t, issued, 0)
		require.JSONEq(t, `"HS256"`, string(header["alg"]))
		require.JSONEq(t, `"JWT"`, string(header["typ"]))

		got := part(t, issued, 1)
		var jti string
		require.NoError(t, json.Unmarshal(got["jti"], &jti))
		require.NoError(t, uuid.Validate(jti))
		delete(got, "jti")
		want := map[string]string{
			"sid": `"` + sessionID + `"`, "sub": `"` + userID + `"`, "username": `"an@example.com"`, "role": `"ADMIN"`, "type": `"access"`,
			"refresh": `false`, "iss": `"smap-identity"`,
			"iat": `1769851800`, "nbf": `1769851800`, "exp": `1769859000`, // whole seconds, as written
		}
		texts := map[string]string{}
		for name, value := range got {
			texts[name] = string(value)
		}
		require.Equal(t, want, texts)
	})

	t.Run("gives each token its lifetime", func(t *testing.T) {
		t.Parallel()
		issued := issue(t)
		end := start.Truncate(time.Second).Add(2 * time.Hour)
		_, err := issuerAt(end.Add(29 * time.Second)).Check(issued)
		require.NoError(t, err, "within the leeway")
		_, err = issuerAt(end.Add(30 * time.Second)).Check(issued)
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})

	t.Run("makes no two tokens alike", func(t *testing.T) {
		t.Parallel()
		require.NotEqual(t, issue(t), issue(t), "each has its own jti")
	})
}

func valid() jwt.MapClaims {
	return jwt.MapClaims{
		"sub": userID, "username": "an@example.com", "role": "USER", "type": "access", "refresh": false,
		"jti": "1", "iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Hour).Unix(),
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(method, c).SignedString(key)
	require.NoError(t, err)
	return signed
}

func TestCheck(t *testing.T) {
	t.Parallel()

	t.Run("accepts", func(t *testing.T) {
		t.Parallel()
		got, err := issuerAt(start.Add(time.Hour)).Check(issue(t))
		require.NoError(t, err)
		require.NoError(t, uuid.Validate(got.ID))
		issued := start.Truncate(time.Second)
		require.Equal(t, authentication.Claims{
			UserID: userID, SessionID: sessionID, Email: "an@example.com", Role: authentication.RoleAdmin, ID: got.ID, Ours: true,
			IssuedAt: issued, ExpiresAt: issued.Add(2 * time.Hour),
		}, got)

		for name, change := range map[string]func(jwt.MapClaims){
			"a token of the previous release, without iss": func(jwt.MapClaims) {},
			"a list as audience":                           func(c jwt.MapClaims) { c["aud"] = []string{"identity"} },
			"a clock 30 s behind":                          func(c jwt.MapClaims) { c["iat"], c["nbf"] = start.Unix()+30, start.Unix()+30 },
			"an id in upper case":                          func(c jwt.MapClaims) { c["sub"] = strings.ToUpper(userID) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := valid()
				change(c)
				got, err := issuerAt(start).Check(sign(t, jwt.SigningMethodHS256, secret, c))
				require.NoError(t, err)
				require.Equal(t, authentication.Claims{
					UserID: userID, Email: "an@example.com", Role: authentication.RoleUser, ID: "1",
					IssuedAt: time.Unix(c["iat"].(int64), 0).UTC(), ExpiresAt: start.Add(time.Hour).Truncate(time.Second),
				}, got)
			})
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		good := sign(t, jwt.SigningMethodHS256, secret, valid())
		parts := strings.Split(good, ".")
		for name, forged := range map[string]string{
			"nothing":          "",
			"no token":         "smap",
			"no signature":     parts[0] + "." + parts[1] + ".",
			"another secret":   sign(t, jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes!!"), valid()),
			"alg none":         sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, valid()),
			"alg HS512":        sign(t, jwt.SigningMethodHS512, secret, valid()),
			"a changed claim":  parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`)) + "." + parts[2],
			"something after":  good + ".x",
			"a space in front": " " + good,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, err := issuerAt(start).Check(forged)
				require.ErrorIs(t, err, authentication.ErrUnauthenticated)
			})
		}
		for name, change := range map[string]jwt.MapClaims{
			"expired":                {"exp": start.Add(-31 * time.Second).Unix()},
			"without exp":            {"exp": nil},
			"not valid yet":          {"nbf": start.Add(32 * time.Second).Unix()},
			"issued in the future":   {"iat": start.Add(32 * time.Second).Unix()},
			"a refresh token":        {"type": "refresh"},
			"without type":           {"type": nil},
			"without sub":            {"sub": nil},
			"a sub that is no uuid":  {"sub": "1"},
			"a sid that is no uuid":  {"sid": "1"},
			"a role of another type": {"role": 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := valid()
				maps.Copy(c, change)
				_, err := issuerAt(start).Check(sign(t, jwt.SigningMethodHS256, secret, c))
				require.ErrorIs(t, err, authentication.ErrUnauthenticated)
				require.Equal(t, "Please log in", apperror.From(err).Message)
			})
		}
	})

	t.Run("takes any role, which the user's row decides", func(t *testing.T) {
		t.Parallel()
		for _, role := range []any{nil, "", "ROOT"} {
			c := valid()
			c["role"] = role
			got, err := issuerAt(start).Check(sign(t, jwt.SigningMethodHS256, secret, c))
			require.NoError(t, err)
			require.Equal(t, userID, got.UserID)
		}
	})
}

func TestCheckExpired(t *testing.T) {
	t.Parallel()
	late := issuerAt(start.Add(40 * 24 * time.Hour))

	t.Run("takes a token whose time is over", func(t *testing.T) {
		t.Parallel()
		got, err := late.CheckExpired(issue(t))
		require.NoError(t, err)
		require.Equal(t, sessionID, got.SessionID)
		require.Equal(t, start.Truncate(time.Second).Add(2*time.Hour), got.ExpiresAt)
		_, err = late.Check(issue(t))
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		for name, forged := range map[string]string{
			"another secret": sign(t, jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes!!"), valid()),
			"alg none":       sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, valid()),
			"alg HS512":      sign(t, jwt.SigningMethodHS512, secret, valid()),
			"no token":       "smap",
		} {
			_, err := late.CheckExpired(forged)
			require.ErrorIs(t, err, authentication.ErrUnauthenticated, name)
		}
		for name, change := range map[string]jwt.MapClaims{
			"without exp":          {"exp": nil},
			"without iat":          {"iat": nil},
			"issued in the future": {"iat": start.Add(41 * 24 * time.Hour).Unix()},
			"a refresh token":      {"type": "refresh"},
		} {
			c := valid()
			maps.Copy(c, change)
			_, err := late.CheckExpired(sign(t, jwt.SigningMethodHS256, secret, c))
			require.ErrorIs(t, err, authentication.ErrUnauthenticated, name)
		}
	})
}

func TestPrevious(t *testing.T) {
	t.Parallel()
	other := []byte("a second secret of thirty-two bytes.")
	issuer := func(secret, previous []byte) *token.Issuer {
		return token.New(token.Options{Secret: secret, Previous: previous, Clock: &fakeClock{start}})
	}
	signed := func(secret, previous []byte) string {
		text, err := issuer(secret, previous).Issue(user, sessionID, start, start.Add(time.Hour))
		require.NoError(t, err)
		return text
	}

	t.Run("takes tokens of both secrets", func(t *testing.T) {
		t.Parallel()
		for _, swapped := range []*token.Issuer{issuer(secret, other), issuer(other, secret)} {
			for _, text := range []string{signed(secret, other), signed(other, secret)} {
				got, err := swapped.Check(text)
				require.NoError(t, err)
				require.Equal(t, sessionID, got.SessionID)
				_, err = swapped.CheckExpired(text)
				require.NoError(t, err)
			}
		}
	})

	t.Run("signs with the first only", func(t *testing.T) {
		t.Parallel()
		_, err := issuer(secret, nil).Check(signed(secret, other))
		require.NoError(t, err)
		_, err = issuer(other, nil).Check(signed(secret, other))
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})

	t.Run("refuses a third, none, and the empty one", func(t *testing.T) {
		t.Parallel()
		for name, forged := range map[string]string{
			"a third":   sign(t, jwt.SigningMethodHS256, []byte("a third secret of thirty-two bytes..."), valid()),
			"none":      sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, valid()),
			"the empty": sign(t, jwt.SigningMethodHS256, []byte{}, valid()),
		} {
			for _, i := range []*token.Issuer{issuer(secret, other), issuer(secret, nil), issuer(secret, []byte{})} {
				_, err := i.Check(forged)
				require.ErrorIs(t, err, authentication.ErrUnauthenticated, name)
				require.Equal(t, "Please log in", apperror.From(err).Message)
			}
		}
	})
}

func TestNew(t *testing.T) {
	t.Parallel()

	t.Run("needs a secret and a clock", func(t *testing.T) {
		t.Parallel()
		require.Panics(t, func() { token.New(token.Options{Clock: &fakeClock{start}}) })
		require.Panics(t, func() { token.New(token.Options{Secret: secret}) })
	})
}
