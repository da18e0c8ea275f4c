package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// TestPreviousRows is about rows that the previous release's rules permitted.
func TestPreviousRows(t *testing.T) {
	const password = "set long ago"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	p := start(t, t.TempDir())
	store := func(t *testing.T, email string, active bool) {
		t.Helper()
		_, err := p.db.Exec(t.Context(), "storing a user", `
			INSERT INTO users (id, username, password_hash, is_active, created_at, updated_at)
			VALUES ($1, $2, $3, $4, '2025-03-02 10:00:00', '2025-03-02 10:00:00')`, uuid.NewString(), email, string(hash), active)
		require.NoError(t, err)
	}
	code := func(t *testing.T, email string) string {
		t.Helper()
		mails, err := p.Inbox().Wait(t.Context(), email, 1)
		require.NoError(t, err)
		require.Equal(t, email, mails[0].To)
		return sixDigits.FindString(mails[0].Text)
	}
	me := func(t *testing.T) (email string) {
		t.Helper()
		var user struct{ Email string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil), &user))
		return user.Email
	}

	for name, email := range map[string]string{
		"dots in a row":       "foo..bar@example.com",
		"a dot before the at": "a.@example.com",
		"a dot at the start":  ".a@example.com",
		"70 before the at":    strings.Repeat("b", 70) + "@example.com",
		"capitals":            "An.Nguyen@Example.com",
	} {
		t.Run("a user with "+name+" logs in", func(t *testing.T) {
			store(t, email, true)
			p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
			require.Equal(t, email, me(t))
			status, code, _ := p.call(t, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": "123456"})
			require.Equal(t, []int{http.StatusBadRequest, 20018}, []int{status, code})
		})
		t.Run("a user with "+name+" gets a code", func(t *testing.T) {
			email := "x" + email
			if strings.HasPrefix(email, "x.") {
				email = "." + email
			}
			store(t, email, false)
			status, refusal, _ := p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
			require.Equal(t, []int{http.StatusForbidden, 20009}, []int{status, refusal})
			p.ok(t, http.StatusOK, http.MethodPost, "/authentication/send-otp", fields{"email": email, "password": password})
			otp := code(t, email)
			p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": otp})
			require.Equal(t, email, me(t))
		})
	}

	t.Run("nobody registers such an address", func(t *testing.T) {
		status, code, _ := p.call(t, http.MethodPost, "/authentication/register", fields{"email": "new..one@example.com", "password": password})
		require.Equal(t, []int{http.StatusBadRequest, 20011}, []int{status, code})
	})

	t.Run("unknown ones are answered like any other", func(t *testing.T) {
		for email, want := range map[string][]int{
			"un..known@example.com":                   {http.StatusUnauthorized, 20004},
			strings.Repeat("u", 300) + "@example.com": {http.StatusUnauthorized, 20004},
			"ân@example.com":                          {http.StatusUnauthorized, 20004},
			"unknown":                                 {http.StatusBadRequest, 20011},
			"un\x00known@example.com":                 {http.StatusBadRequest, 20011},
		} {
			status, code, _ := p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
			require.Equal(t, want, []int{status, code}, email)
		}
	})

	// Pods of the previous release look an address up as it is typed.
	t.Run("capitals are stored as they are typed, and do not matter", func(t *testing.T) {
		const typed = "New2@Example.com"
		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": typed, "password": password})
		otp := code(t, typed)
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": strings.ToLower(typed), "otp": otp})
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": strings.ToUpper(typed), "password": password})
		require.Equal(t, typed, me(t))
		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": "nEW2@example.com", "password": password})
		var stored int
		require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(),
			"SELECT count(*) FROM users WHERE username = $1", typed).Scan(&stored))
		require.Equal(t, 1, stored)
	})

	t.Run("the trial's plan is what the previous release made it", func(t *testing.T) {
		var usage int
		require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT max_usage FROM plans WHERE code = 'free'").Scan(&usage))
		require.Equal(t, 100, usage)
	})
}
