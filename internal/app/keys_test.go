package app

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeys starts one service on the same data with the keys of each step of docs/operations.md.
func TestKeys(t *testing.T) {
	key := func(first byte) string {
		return base64.StdEncoding.EncodeToString(append([]byte{first}, bytes.Repeat([]byte("key"), 10)...)[:32:32])
	}
	before := map[string]string{"JWT_SECRET": key('a'), "INTERNAL_KEY": key('b'), "CODE_HMAC_KEY": key('c'), "EVENTS_SEAL_KEY": key('d')}
	after := map[string]string{"JWT_SECRET": key('e'), "INTERNAL_KEY": key('f'), "CODE_HMAC_KEY": key('g'), "EVENTS_SEAL_KEY": key('h')}
	const password, limited = "a long enough one", "limited@example.com"
	dir, jar := t.TempDir(), http.CookieJar(nil)
	codes := map[string]fields{}

	step := func(name string, first, other map[string]string, test func(t *testing.T, p *program)) {
		t.Run(name, func(t *testing.T) {
			for variable := range before {
				t.Setenv(variable, first[variable])
				t.Setenv(variable+"_PREVIOUS", other[variable])
			}
			p := start(t, dir)
			if jar == nil {
				jar = p.client.Jar
			}
			p.client.Jar = jar
			test(t, p)
		})
	}
	register := func(t *testing.T, p *program, email string) {
		t.Helper()
		var registered struct{ Registration string }
		other := *p
		other.client = &http.Client{}
		require.NoError(t, json.Unmarshal(other.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
			fields{"email": email, "password": password}), &registered))
		mails, err := p.Inbox().Wait(t.Context(), email, 1)
		require.NoError(t, err)
		codes[email] = fields{"email": email, "otp": sixDigits.FindString(mails[0].Text), "registration": registered.Registration}
	}
	verify := func(t *testing.T, p *program, email string) {
		t.Helper()
		other := *p
		other.client = &http.Client{}
		other.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", codes[email])
	}
	login := func(t *testing.T, p *program, email, password string) (answer []int) {
		t.Helper()
		other := *p
		other.client = &http.Client{}
		status, code, _ := other.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": password},
			"X-Forwarded-For", "203.0.113.7")
		return []int{status, code}
	}
	internal := func(t *testing.T, p *program, key string) int {
		t.Helper()
		status, _, _ := p.call(t, http.MethodGet, "/users/internal/85127bca-b50f-4bdf-9851-54dccc947b2d", nil, "X-Internal-Key", key)
		return status
	}
	var token string

	step("0: the old keys", before, nil, func(t *testing.T, p *program) {
		p.loginAdmin(t)
		p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", []string{"invited@example.com"})
		mails, err := p.Inbox().Wait(t.Context(), "invited@example.com", 1)
		require.NoError(t, err)
		token = invitationToken.FindString(mails[0].Text)
		register(t, p, "an@example.com")
		register(t, p, "bo@example.com")
		for range 6 {
			require.Equal(t, []int{http.StatusUnauthorized, 20004}, login(t, p, limited, "wrong"))
		}
		require.Equal(t, http.StatusNotFound, internal(t, p, before["INTERNAL_KEY"]))
		require.Equal(t, http.StatusUnauthorized, internal(t, p, after["INTERNAL_KEY"]))
	})
	step("1: the new ones are accepted", before, after, func(t *testing.T, p *program) {
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, http.StatusNotFound, internal(t, p, before["INTERNAL_KEY"]))
		require.Equal(t, http.StatusNotFound, internal(t, p, after["INTERNAL_KEY"]))
		verify(t, p, "an@example.com")
		for range 2 {
			require.Equal(t, []int{http.StatusUnauthorized, 20004}, login(t, p, limited, "wrong"))
		}
	})
	step("2: swapped", after, before, func(t *testing.T, p *program) {
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, http.StatusNotFound, internal(t, p, before["INTERNAL_KEY"]))
		require.Equal(t, http.StatusNotFound, internal(t, p, after["INTERNAL_KEY"]))
		require.Equal(t, []int{http.StatusForbidden, 20009}, login(t, p, "bo@example.com", password), "the pending password is found")
		verify(t, p, "bo@example.com")
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/accept-invitation", fields{"token": token, "password": password})
		for range 2 {
			require.Equal(t, []int{http.StatusUnauthorized, 20004}, login(t, p, limited, "wrong"))
		}
		require.Equal(t, []int{http.StatusTooManyRequests, 20008}, login(t, p, limited, "wrong"), "ten in a row, whatever the keys")
		register(t, p, "chi@example.com")
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": admin, "password": adminPassword})
	})
	step("back, with the old keys first", before, after, func(t *testing.T, p *program) {
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, []int{http.StatusForbidden, 20009}, login(t, p, "chi@example.com", password))
		require.Equal(t, []int{http.StatusTooManyRequests, 20008}, login(t, p, limited, "wrong"))
	})
	step("3: the old ones are gone", after, nil, func(t *testing.T, p *program) {
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, http.StatusUnauthorized, internal(t, p, before["INTERNAL_KEY"]))
		require.Equal(t, http.StatusNotFound, internal(t, p, after["INTERNAL_KEY"]))
		require.Equal(t, []int{http.StatusTooManyRequests, 20008}, login(t, p, limited, "wrong"))
		verify(t, p, "chi@example.com")
	})
	step("a token of keys that are gone", before, nil, func(t *testing.T, p *program) {
		status, _, _ := p.call(t, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, http.StatusUnauthorized, status)
	})
}
