//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestAttacks plays what an outsider would try, on two apis. In phase dual the mails still travel the old way.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"dual", "complete"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := harness.New(t, harness.Options{APIs: 2, Consumers: 1, Env: inPhase(phase)})
			for name, attack := range map[string]func(*testing.T, *harness.TestSystem){
				"registering another's address first":     hijack,
				"guessing a code, fifty times at once":    guessAtOnce,
				"running every limit of an address full":  fillLimits,
				"keeping a token after the password went": keepToken,
				"keeping a token after the logout":        keepTokenOfLogout,
				"going on as an administrator of old":     oldAdministrator,
				"taking a password that everybody has":    commonPasswords,
			} {
				t.Run(name, func(t *testing.T) { attack(t, s) })
			}
		})
	}
}

// network is a browser in a network of its own. No two attacks share one: a client has limits in each api.
type network struct {
	*harness.Client
	address string
}

func (n network) post(t *testing.T, path string, body any) harness.Answer {
	t.Helper()
	a, err := n.Call(t.Context(), http.MethodPost, "/authentication/"+path, body, "X-Forwarded-For", n.address)
	require.NoError(t, err)
	return a
}

func (n network) credentials(t *testing.T, path, email, password string) harness.Answer {
	t.Helper()
	return n.post(t, path, map[string]any{"email": email, "password": password})
}

// codeOf returns the code of the newest of n mails.
func codeOf(t *testing.T, s *harness.TestSystem, email string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	mails, err := s.Mailbox.Wait(ctx, email, n)
	require.NoError(t, err)
	return anyCode(t, mails[len(mails)-1])
}

// anyCode returns the code of a mail, which has no text where it travelled the old way.
func anyCode(t *testing.T, m harness.Mail) string {
	t.Helper()
	if code := m.Code(); code != "" {
		return code
	}
	return htmlCode(t, m.HTML)
}

func hijack(t *testing.T, s *harness.TestSystem) {
	email := harness.Email()
	attacker, owner := network{s.Client(), "203.0.111.7"}, network{s.Client(), "198.51.101.7"}
	require.Equal(t, http.StatusCreated, attacker.credentials(t, "register", email, "the attacker's own").Status)
	codeOf(t, s, email, 1)
	require.Equal(t, http.StatusCreated, owner.credentials(t, "register", email, harness.Password).Status)
	code := codeOf(t, s, email, 2)
	require.Equal(t, 20018, network{s.Client(), "203.0.111.7"}.post(t, "verify-otp", map[string]any{"email": email, "otp": code}).ErrorCode)
	require.Zero(t, owner.post(t, "verify-otp", map[string]any{"email": email, "otp": code}).ErrorCode)
	require.Zero(t, owner.credentials(t, "login", email, harness.Password).ErrorCode)
	require.Equal(t, 20009, attacker.credentials(t, "login", email, "the attacker's own").ErrorCode, "as before")
}

func guessAtOnce(t *testing.T, s *harness.TestSystem) {
	email := harness.Email()
	p := &person{email: email, client: s.Client()}
	want(t, http.StatusCreated)(p.client.Register(t.Context(), email, harness.Password))
	p.code = codeOf(t, s, email, 1)
	answers := make([]harness.Answer, 50)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			a, err := p.client.Verify(t.Context(), email, p.wrongCode())
			if err == nil {
				answers[i] = a
			}
		})
	}
	all.Wait()
	codes := map[int]int{}
	for _, a := range answers {
		codes[a.ErrorCode]++
	}
	require.Equal(t, map[int]int{20005: 5, 20008: 45}, codes)
	require.Equal(t, 5, s.Count("SELECT wrong_tries FROM code_requests WHERE email = $1", email))
	require.Equal(t, 20008, want(t, http.StatusTooManyRequests)(p.client.Verify(t.Context(), email, p.code)).ErrorCode)
}

// fillLimits has one client try all it can; the owner is in another network.
func fillLimits(t *testing.T, s *harness.TestSystem) {
	email := harness.Email()
	attacker, owner := network{s.Client(), "203.0.112.7"}, network{s.Client(), "198.51.102.7"}
	for range 12 {
		attacker.credentials(t, "register", email, "the attacker's own")
		attacker.credentials(t, "login", email, "a guess of theirs")
		attacker.post(t, "forgot-password", map[string]any{"email": email})
		for range 3 {
			attacker.post(t, "verify-otp", map[string]any{"email": email, "otp": "000000"})
		}
	}
	require.Equal(t, http.StatusTooManyRequests, attacker.credentials(t, "login", email, "a guess of theirs").Status)
	began := time.Now()
	require.Equal(t, http.StatusCreated, owner.credentials(t, "register", email, harness.Password).Status)
	var code string
	eventID := ""
	require.NoError(t, s.DB.QueryRowContext(t.Context(), `SELECT event_id FROM code_requests
		WHERE email = $1 AND network = '198.51.102.0/24'`, email).Scan(&eventID))
	harness.Soon(t, func() error {
		for _, m := range s.Mailbox.All(email) {
			if strings.HasPrefix(m.MessageID, eventID) {
				code = anyCode(t, m)
				return nil
			}
		}
		return errors.New("the owner has no mail yet")
	})
	require.Zero(t, owner.post(t, "verify-otp", map[string]any{"email": email, "otp": code}).ErrorCode)
	require.Zero(t, owner.credentials(t, "login", email, harness.Password).ErrorCode)
	require.Less(t, time.Since(began), time.Minute)
}

// keepToken steals a cookie, whose owner then sets a new password.
func keepToken(t *testing.T, s *harness.TestSystem) {
	email := harness.Email()
	owner := network{s.Client(), "198.51.103.7"}
	require.Equal(t, http.StatusCreated, owner.credentials(t, "register", email, harness.Password).Status)
	require.Zero(t, owner.post(t, "verify-otp", map[string]any{"email": email, "otp": codeOf(t, s, email, 1)}).ErrorCode)
	login := owner.credentials(t, "login", email, harness.Password)
	stolen := "smap_auth_token=" + login.Cookie("smap_auth_token").Value
	thief := s.Client()
	me := func() int {
		a, err := thief.Call(t.Context(), http.MethodGet, "/authentication/me", nil, "Cookie", stolen)
		require.NoError(t, err)
		return a.Status
	}
	require.Equal(t, http.StatusOK, me())
	require.Equal(t, http.StatusOK, owner.post(t, "forgot-password", map[string]any{"email": email}).Status)
	code := codeOf(t, s, email, 2)
	require.Equal(t, 20018, network{s.Client(), "203.0.113.7"}.post(t, "reset-password",
		map[string]any{"email": email, "otp": code, "password": "the thief's own"}).ErrorCode)
	require.Zero(t, owner.post(t, "reset-password",
		map[string]any{"email": email, "otp": code, "password": "a new one of theirs"}).ErrorCode)
	require.Equal(t, http.StatusUnauthorized, me())
	want(t, http.StatusOK)(owner.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	require.Equal(t, 20004, owner.credentials(t, "login", email, harness.Password).ErrorCode)
}

// keepTokenOfLogout steals a cookie; its owner logs out on another api than the thief asks.
func keepTokenOfLogout(t *testing.T, s *harness.TestSystem) {
	owner := network{s.Client(), "198.51.104.7"}
	p := &person{email: harness.Email(), client: owner.Client}
	require.Equal(t, http.StatusCreated, owner.credentials(t, "register", p.email, harness.Password).Status)
	require.Zero(t, owner.post(t, "verify-otp", map[string]any{"email": p.email, "otp": codeOf(t, s, p.email, 1)}).ErrorCode)
	login := owner.credentials(t, "login", p.email, harness.Password)
	stolen := "smap_auth_token=" + login.Cookie("smap_auth_token").Value
	thief := s.Client()
	for _, path := range []string{"/authentication/me", "/users/me", "/subscriptions/me"} {
		want(t, http.StatusOK)(thief.Call(t.Context(), http.MethodGet, path, nil, "Cookie", stolen))
	}
	want(t, http.StatusOK)(owner.Call(t.Context(), http.MethodPost, "/authentication/logout", nil))
	for range 4 { // both apis
		for _, path := range []string{"/authentication/me", "/users/me", "/subscriptions/me"} {
			want(t, http.StatusUnauthorized)(thief.Call(t.Context(), http.MethodGet, path, nil, "Cookie", stolen))
		}
	}
}

// oldAdministrator has a token that says ADMIN, and a row that does not.
func oldAdministrator(t *testing.T, s *harness.TestSystem) {
	var people []*person
	for _, address := range []string{"198.51.105.7", "198.51.106.7"} {
		p := &person{email: harness.Email(), client: s.Client()}
		n := network{p.client, address}
		require.Equal(t, http.StatusCreated, n.credentials(t, "register", p.email, harness.Password).Status)
		require.Zero(t, n.post(t, "verify-otp", map[string]any{"email": p.email, "otp": codeOf(t, s, p.email, 1)}).ErrorCode)
		people = append(people, p)
	}
	admin, victim := people[0], people[1]
	require.Zero(t, s.Command(nil, harness.API, "user", "promote", admin.email, "--by", "a test").Code)
	want(t, http.StatusOK)(admin.client.Login(t.Context(), admin.email, harness.Password, true))
	want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodGet, "/users", nil))
	_, err := s.DB.ExecContext(t.Context(), "UPDATE users SET role_hash = NULL WHERE username = $1", admin.email)
	require.NoError(t, err)
	for range 2 {
		want(t, http.StatusForbidden)(admin.client.Call(t.Context(), http.MethodGet, "/users", nil))
		path := "/subscriptions/" + mySubscription(t, victim).ID + "/cancel"
		want(t, http.StatusNotFound)(admin.client.Call(t.Context(), http.MethodPost, path, nil))
	}
	require.Equal(t, "trialing", mySubscription(t, victim).Status)
}

func commonPasswords(t *testing.T, s *harness.TestSystem) {
	for _, password := range []string{"12345678", "Password", "        ", "nguyen.van.an", "smap2026"} {
		a := refused(t, http.StatusBadRequest, 20001)(s.Client().Register(t.Context(), "nguyen.van.an@example.com", password))
		require.Contains(t, a.Errors, "password", password)
	}
}
