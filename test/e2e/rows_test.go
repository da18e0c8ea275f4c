//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/test/harness"
)

// TestPreviousRows starts on the previous release's own tables, with rows as its rules permitted them.
func TestPreviousRows(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Env: inPhase("prepare")})
	exec := func(t *testing.T, query string, args ...any) {
		t.Helper()
		_, err := s.DB.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
	}
	exec(t, schematest.PreviousRelease)
	hash, err := bcrypt.GenerateFromPassword([]byte(harness.Password), 10)
	require.NoError(t, err)
	// store makes a user as pods of the previous release do.
	store := func(t *testing.T, email string, active bool) {
		t.Helper()
		exec(t, "INSERT INTO users (username, password_hash, is_active) VALUES ($1, $2, $3)", email, string(hash), active)
	}
	withoutTimes := func(t *testing.T, table string) {
		t.Helper()
		exec(t, "UPDATE "+table+" SET created_at = NULL, updated_at = NULL")
	}
	old := harness.Email() // there before the migration
	store(t, old, true)
	exec(t, "INSERT INTO plans (name, code, max_usage) VALUES ('Free', 'free', NULL)")
	withoutTimes(t, "users")
	withoutTimes(t, "plans")
	out := s.Command(nil, harness.API, "migrate", "status")
	require.Contains(t, out.Stdout, "odd, but not in the way: users without the time of their creation or last change (1)\n")
	require.Contains(t, out.Stdout, old)

	api, consumer := s.NewAPI(), s.NewConsumer()
	for _, p := range []*harness.Process{api, consumer} {
		s.StartReady(p)
	}
	s.WaitLine(consumer, `"queue":"smtp_send_email"`, "found")

	login := func(t *testing.T, email string) *harness.Client {
		t.Helper()
		client := s.Client()
		want(t, http.StatusOK)(client.Login(t.Context(), email, harness.Password, false))
		return client
	}
	// getCode asks for a code and verifies with it.
	getCode := func(t *testing.T, email string) {
		t.Helper()
		client := s.Client()
		refused(t, http.StatusForbidden, 20009)(client.Login(t.Context(), email, harness.Password, false))
		want(t, http.StatusOK)(client.SendCode(t.Context(), email, harness.Password))
		mail := oneMail(t, s, email)
		want(t, http.StatusOK)(client.Verify(t.Context(), email, htmlCode(t, mail.HTML)))
		want(t, http.StatusOK)(client.Call(t.Context(), http.MethodGet, "/subscriptions/me", nil))
	}

	t.Run("times that are missing stop nothing", func(t *testing.T) {
		require.Zero(t, s.Count("SELECT count(*) FROM users WHERE created_at IS NULL"), "filled")
		login(t, old)

		pending := harness.Email() // pods of the previous release may add more of them
		store(t, pending, false)
		withoutTimes(t, "users")
		withoutTimes(t, "plans")
		login(t, old)
		getCode(t, pending)
		require.Equal(t, 1, s.Count("SELECT count(*) FROM plans"))
		out := s.Command(nil, harness.API, "user", "promote", old, "--by", "a test")
		require.Zero(t, out.Code, out.Stderr)
	})

	t.Run("the addresses of its loose pattern work", func(t *testing.T) {
		for _, email := range []string{
			"foo..bar@example.com", "a.@example.com", ".a@example.com", strings.Repeat("b", 70) + "@example.com",
		} {
			store(t, email, true)
			login(t, email)
			out := s.Command(nil, harness.API, "user", "promote", email, "--by", "a test")
			require.Zero(t, out.Code, out.Stderr)
			getCodeFrom := ".." + email
			store(t, getCodeFrom, false)
			getCode(t, getCodeFrom)
		}
		previousMail(t, s, previousBody("of.an.old..pod@example.com", "[]"))
		require.Contains(t, oneMail(t, s, "of.an.old..pod@example.com").HTML, "123456")
		require.Zero(t, s.QueueLength("identity.legacy.dead"))
		out := s.Command(nil, harness.API, "migrate", "status")
		require.Zero(t, out.Code, out.Stderr)
		require.Contains(t, out.Stdout, `"foo..bar@example.com"`)
	})

	t.Run("its pods find an address as it was typed", func(t *testing.T) {
		typed := "New2." + uuid.NewString() + "@Example.com"
		client := s.Client()
		want(t, http.StatusCreated)(client.Register(t.Context(), typed, harness.Password))
		mail := oneMail(t, s, typed)
		want(t, http.StatusOK)(client.Verify(t.Context(), strings.ToLower(typed), htmlCode(t, mail.HTML)))
		var stored string
		var active bool
		require.NoError(t, s.DB.QueryRowContext(t.Context(),
			"SELECT password_hash, is_active FROM users WHERE username = $1 AND deleted_at IS NULL", typed).Scan(&stored, &active))
		require.True(t, active)
		require.NoError(t, bcrypt.CompareHashAndPassword([]byte(stored), []byte(harness.Password)))
		login(t, strings.ToUpper(typed))
		want(t, http.StatusCreated)(client.Register(t.Context(), strings.ToLower(typed), harness.Password))
	})
}
