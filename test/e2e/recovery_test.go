//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestRecovery has people set a new password on two apis and two consumers.
func TestRecovery(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	t.Run("a new password leaves nothing to a thief", func(t *testing.T) { newPassword(t, s) })
	t.Run("of the same code sent at once one sets the password", func(t *testing.T) { resetAtOnce(t, s) })
	t.Run("of two changes at once one sets the password", func(t *testing.T) { changeAtOnce(t, s) })
}

const another = "another battery staple"

func newPassword(t *testing.T, s *harness.TestSystem) {
	p := verified(t, s)
	thief := s.Client()
	want(t, http.StatusOK)(thief.Login(t.Context(), p.email, harness.Password, true))
	nextSecond(t)

	code := p.forget(t, s, 2)
	refused(t, http.StatusBadRequest, 20018)(spendReset(t, s.Client(), p.email, code))
	answer := want(t, http.StatusOK)(spendReset(t, p.client, p.email, code))
	loginCookie(t, answer, 7200)
	refused(t, http.StatusConflict, 20006)(spendReset(t, p.client, p.email, code))
	for range 2 { // both apis
		want(t, http.StatusUnauthorized)(thief.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
		want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	}
	refused(t, http.StatusUnauthorized, 20004)(thief.Login(t.Context(), p.email, harness.Password, true))
	want(t, http.StatusOK)(thief.Login(t.Context(), p.email, another, true))
	nextSecond(t)

	want(t, http.StatusOK)(changePassword(t, p.client, another, harness.Password))
	for range 2 {
		want(t, http.StatusUnauthorized)(thief.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
		want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	}
	mails, err := s.Mailbox.Wait(t.Context(), p.email, 4)
	require.NoError(t, err)
	var subjects []string
	for _, mail := range mails[2:] {
		subjects = append(subjects, mail.Subject)
		require.NotRegexp(t, `\b\d{6}\b`, mail.Text, "a notice has no code")
	}
	require.ElementsMatch(t, []string{"Your SMAP password was reset", "Your SMAP password was changed"}, subjects)
	hidesCode(t, dump(t, s), code)
}

// nextSecond waits until tokens that have been issued are older than the second of the next password.
func nextSecond(t *testing.T) {
	t.Helper()
	issued := time.Now().Unix()
	harness.Soon(t, func() error {
		if time.Now().Unix() == issued {
			return errors.New("it is the same second")
		}
		return nil
	})
}

// forget asks for a new password, and returns the code in the mail, one of so many.
func (p *person) forget(t *testing.T, s *harness.TestSystem, mails int) (code string) {
	t.Helper()
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodPost, "/authentication/forgot-password",
		map[string]string{"email": p.email}))
	all, err := s.Mailbox.Wait(t.Context(), p.email, mails)
	require.NoError(t, err)
	return all[mails-1].Code()
}

func spendReset(t *testing.T, c *harness.Client, email, code string) (harness.Answer, error) {
	t.Helper()
	return c.Call(t.Context(), http.MethodPost, "/authentication/reset-password",
		map[string]string{"email": email, "otp": code, "password": another})
}

func changePassword(t *testing.T, c *harness.Client, from, to string) (harness.Answer, error) {
	t.Helper()
	return c.Call(t.Context(), http.MethodPost, "/users/me/change-password",
		map[string]string{"old_password": from, "new_password": to})
}

func resetAtOnce(t *testing.T, s *harness.TestSystem) {
	p := verified(t, s)
	code := p.forget(t, s, 2)
	codes := atOnce(t, s, func(*harness.Client) (harness.Answer, error) { return spendReset(t, p.client, p.email, code) })
	require.Equal(t, map[int]int{0: 1, 20006: 19}, codes)
	want(t, http.StatusOK)(s.Client().Login(t.Context(), p.email, another, false))
}

func changeAtOnce(t *testing.T, s *harness.TestSystem) {
	p := verified(t, s)
	var codes [2]int
	done := make(chan int)
	for i, password := range []string{"the first new one", "the second new one"} {
		go func() {
			answer, err := changePassword(t, p.client, harness.Password, password)
			if err == nil {
				codes[i] = answer.Status
			}
			done <- i
		}()
	}
	<-done
	<-done
	require.ElementsMatch(t, []int{http.StatusOK, http.StatusUnauthorized}, codes[:])
}
