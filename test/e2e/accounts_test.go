//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestAccounts is an administrator's morning by HTTP, and an operator's by commands.
func TestAccounts(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	admin, other, p := verified(t, s), verified(t, s), verified(t, s)
	command := func(args ...string) string {
		t.Helper()
		out := s.Command(nil, harness.API, args...)
		require.Zero(t, out.Code, out.Stderr)
		return out.Stdout
	}
	for _, who := range []*person{admin, other} {
		command("user", "promote", who.email, "--by", "a test")
	}
	for _, who := range []*person{admin, p} {
		want(t, http.StatusOK)(who.client.Login(t.Context(), who.email, harness.Password, true))
	}
	call := func(status int, method, path string, body any) harness.Answer {
		t.Helper()
		return want(t, status)(admin.client.Call(t.Context(), method, path, body))
	}
	me := func(status int) {
		t.Helper()
		want(t, status)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	}

	me(http.StatusOK)
	call(http.StatusOK, http.MethodPost, "/users/"+p.id+"/disable", map[string]string{"reason": "a test"})
	me(http.StatusUnauthorized)
	refused(t, http.StatusForbidden, 20019)(s.Client().Login(t.Context(), p.email, harness.Password, false))
	refused(t, http.StatusUnauthorized, 20004)(s.Client().Login(t.Context(), p.email, "not that one", false))
	call(http.StatusOK, http.MethodPost, "/users/"+p.id+"/enable", nil)
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, true))
	me(http.StatusOK)
	command("sessions", "end", p.email, "--by", "a test")
	me(http.StatusUnauthorized)
	call(http.StatusOK, http.MethodPut, "/users/"+other.id+"/role", map[string]string{"role": "USER"})
	require.NotContains(t, command("user", "list", "--admins"), other.email)
	refused(t, http.StatusConflict, 10009)(admin.client.Call(t.Context(), http.MethodDelete, "/users/"+admin.id, nil))

	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, true))
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodDelete, "/users/me", map[string]string{"password": harness.Password}))
	me(http.StatusUnauthorized)
	subscriptionState(t, s, p.id, "cancelled")
	command("user", "delete", other.email, "--by", "a test", "--reason", "a test")
	subscriptionState(t, s, other.id, "cancelled")

	var found struct{ Entries []struct{ Action string } }
	answer := call(http.StatusOK, http.MethodGet, "/audit?limit=100&user_id="+p.id, nil)
	require.NoError(t, json.Unmarshal(answer.Data, &found))
	actions := map[string]bool{}
	for _, e := range found.Entries {
		actions[e.Action] = true
	}
	for _, action := range []string{
		"user.verified", "user.disabled", "user.enabled", "sessions.ended", "user.deleted", "subscription.cancelled",
	} {
		require.True(t, actions[action], action)
	}
	require.Equal(t, 2, strings.Count(command("audit", "--action", "user.deleted"), "user.deleted"))
}
