package app

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// verdict posts and returns status and error code.
func (s *surfer) verdict(t *testing.T, path string, body fields) []int {
	t.Helper()
	status, code, _ := s.post(t, path, body)
	return []int{status, code}
}

// me returns the status of asking who is logged in.
func (s *surfer) me(t *testing.T) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.APIURL()+"/authentication/me", http.NoBody)
	require.NoError(t, err)
	response, err := s.client.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// A person who has lost their password sets another, and later changes that: nothing is left to a thief who had the login,
// the password or another code.
func TestRecovery(t *testing.T) {
	const email, first, second = "mai@example.com", "a long enough one", "a better long one"
	const third = "mậtkhẩu-dài-12"
	p := start(t, t.TempDir())
	p.verified(t, email, 1)
	owner, thief := p.surfer(t, "198.51.100.7"), p.surfer(t, "203.0.113.7")
	login := func(s *surfer, password string) []int {
		return s.verdict(t, "/authentication/login", fields{"email": email, "password": password, "remember": true})
	}
	reset := func(s *surfer, otp, password string) []int {
		return s.verdict(t, "/authentication/reset-password", fields{"email": email, "otp": otp, "password": password})
	}
	change := func(s *surfer, from, to string) []int {
		return s.verdict(t, "/users/me/change-password", fields{"old_password": from, "new_password": to})
	}
	forgot := func(s *surfer, mails int) (otp string) {
		require.Equal(t, []int{200, 0}, s.verdict(t, "/authentication/forgot-password", fields{"email": email}))
		return s.newest(t, email, mails)
	}
	require.Equal(t, []int{200, 0}, login(thief, first))
	p.advance(t, 1) // a token ends when it is older than the second of the new password
	require.Equal(t, http.StatusOK, thief.me(t))

	theirs, ours := forgot(thief, 2), forgot(owner, 3)
	require.Equal(t, []int{400, 20018}, reset(p.surfer(t, "198.51.100.7"), ours, second), "another browser")
	require.Equal(t, []int{400, 20001}, reset(owner, ours, "12345678"), "which costs no try")
	require.Equal(t, []int{200, 0}, reset(owner, ours, second))
	require.Equal(t, http.StatusOK, owner.me(t), "the browser that asked is logged in")
	require.Equal(t, http.StatusUnauthorized, thief.me(t))
	require.Equal(t, []int{409, 20006}, reset(owner, ours, second), "sent twice")
	require.Equal(t, []int{400, 20018}, reset(thief, theirs, first), "another code has ended")
	require.Equal(t, []int{401, 20004}, login(thief, first))
	notices, err := p.Inbox().Wait(t.Context(), email, 4)
	require.NoError(t, err)
	require.Contains(t, notices[0].Subject, "was reset")

	require.Equal(t, []int{200, 0}, login(thief, second))
	require.Equal(t, []int{401, 20004}, change(thief, first, third))
	p.advance(t, 1)
	require.Equal(t, []int{200, 0}, login(owner, second))
	require.Equal(t, []int{400, 20001}, change(owner, second, "MAI@example.com"))
	require.Equal(t, []int{200, 0}, change(owner, second, third))
	require.Equal(t, http.StatusOK, owner.me(t))
	require.Equal(t, http.StatusUnauthorized, thief.me(t))
	require.Equal(t, []int{401, 20004}, login(thief, second))
	require.Equal(t, []int{200, 0}, login(owner, norm.NFD.String(third)), "on every keyboard")
	notices, err = p.Inbox().Wait(t.Context(), email, 5)
	require.NoError(t, err)
	require.Contains(t, notices[0].Subject, "was changed")
}

// A code for a new password proves the address as any other does.
func TestRecoveryProvesTheAddress(t *testing.T) {
	const password, other = "a better long one", "mậtkhẩu-dài-12"
	p := start(t, t.TempDir())
	for email, prepare := range map[string]func(email string){
		"unverified@example.com": func(email string) {
			require.Equal(t, []int{201, 0}, p.surfer(t, "192.0.2.1").verdict(t, "/authentication/register",
				fields{"email": email, "password": other}))
			p.surfer(t, "192.0.2.1").newest(t, email, 1)
			require.Equal(t, []int{403, 20009}, p.surfer(t, "192.0.2.2").verdict(t, "/authentication/login",
				fields{"email": email, "password": norm.NFD.String(other)}), "its password is known on every keyboard")
		},
		"invited@example.com": func(email string) {
			now := p.clock.Now()
			_, err := p.db.Exec(t.Context(), "inviting", `INSERT INTO users (id, username, role_hash, is_active, created_at, updated_at)
				VALUES ($1, $2, '', false, $3, $3)`, uuid.NewString(), email, now)
			require.NoError(t, err)
		},
	} {
		prepare(email)
		events, untap := p.Tap("user.verified")
		s := p.surfer(t, "198.51.100.7")
		require.Equal(t, []int{200, 0}, s.verdict(t, "/authentication/forgot-password", fields{"email": email}))
		mails := 1
		if strings.HasPrefix(email, "unverified") {
			mails = 2
		}
		otp := s.newest(t, email, mails)
		require.Equal(t, []int{200, 0}, s.verdict(t, "/authentication/reset-password",
			fields{"email": email, "otp": otp, "password": password}))
		require.Contains(t, string((<-events).Body), "occurred_at")
		untap()
		require.Equal(t, http.StatusOK, s.me(t))
		require.Equal(t, []int{200, 0}, s.verdict(t, "/authentication/login", fields{"email": email, "password": password}))
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM subscriptions s JOIN users u ON u.id = s.user_id WHERE username = $1", email))
	}
	require.Equal(t, []int{200, 0}, p.surfer(t, "192.0.2.3").verdict(t, "/authentication/forgot-password",
		fields{"email": "nobody@example.com"}))
	require.Zero(t, p.number(t, "SELECT count(*) FROM users WHERE username = 'nobody@example.com'"))
}

// What everybody guesses first is refused wherever a password is made.
func TestEasyPasswords(t *testing.T) {
	p := start(t, t.TempDir())
	for _, password := range []string{
		"password", "12345678", "        ", "aaaaaaaa", "abababab", "Lan.Nguyen", "lan_nguyen2026", "LAN.NGUYEN@example.com", "SMAP2026!",
		"1234567", strings.Repeat("xyzabcde", 16) + "f",
	} {
		body := fields{"email": "lan.nguyen@example.com", "password": password}
		require.Equal(t, []int{400, 20001}, p.surfer(t, "").verdict(t, "/authentication/register", body), password)
		body["otp"] = "123456"
		require.Equal(t, []int{400, 20001}, p.surfer(t, "").verdict(t, "/authentication/reset-password", body), password)
	}
	require.Zero(t, p.number(t, "SELECT count(*) FROM users"))
}

func TestMinimumLengthOfPasswords(t *testing.T) {
	t.Setenv("PASSWORD_MIN_LENGTH", "15")
	p := start(t, t.TempDir())
	s := p.surfer(t, "198.51.100.7")
	for password, want := range map[string][]int{"fourteen chars": {400, 20001}, "fifteen chars!!": {201, 0}} {
		require.Equal(t, want, s.verdict(t, "/authentication/register", fields{"email": "mai@example.com", "password": password}))
	}
}
