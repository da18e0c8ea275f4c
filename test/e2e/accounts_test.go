//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestAccounts is an administrator's morning by HTTP, and the same by commands.
func TestAccounts(t *testing.T) {
	t.Parallel()
	t.Run("an administrator disables, promotes and deletes", administrate)
	t.Run("a disabled account opens to nothing", disabledAccount)
}

// reason is a body that says why.
var reason = map[string]string{"reason": "a test"}

func administrate(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	recorded := recordEvents(t, s)
	admin, other, p := administrator(t, s), verified(t, s), verified(t, s)
	command := func(args ...string) string {
		t.Helper()
		out := s.Command(nil, harness.API, args...)
		require.Zero(t, out.Code, out.Stderr)
		return out.Stdout
	}
	call := func(status int, method, path string, body any) harness.Answer {
		t.Helper()
		return want(t, status)(admin.client.Call(t.Context(), method, path, body))
	}
	login := func() {
		t.Helper()
		want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, true))
	}
	me := func(status int) {
		t.Helper()
		for range s.APIs {
			want(t, status)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
		}
	}

	// Disabled and enabled, by HTTP and by command. What was open ends, the stream within a minute.
	login()
	me(http.StatusOK)
	id := "proj_" + uuid.NewString()
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/"+id,
		map[string]any{"user_id": p.id, "total": 2}, "X-Internal-Key", os.Getenv("INTERNAL_KEY")))
	watching := watch(t, s, p, id)
	call(http.StatusOK, http.MethodPost, "/users/"+p.id+"/disable", reason)
	me(http.StatusUnauthorized)
	recorded.wait("user.disabled", p.id)
	call(http.StatusOK, http.MethodPost, "/users/"+p.id+"/enable", nil)
	recorded.wait("user.enabled", p.id)
	me(http.StatusUnauthorized)
	login()
	command("user", "disable", p.email, "--by", "mai", "--reason", "a test")
	me(http.StatusUnauthorized)
	require.Equal(t, "disabled", show(t, s, p.email).User.State)
	command("user", "enable", p.email, "--by", "mai")
	login()
	command("sessions", "end", p.email, "--by", "mai")
	me(http.StatusUnauthorized)

	// Promoted and demoted. The last active administrator stays one.
	role := func(who *person, role string) harness.Answer {
		t.Helper()
		return call(http.StatusOK, http.MethodPut, "/users/"+who.id+"/role", map[string]string{"role": role})
	}
	require.Contains(t, role(other, "ADMIN").Raw, `"ADMIN"`)
	require.Contains(t, command("user", "list", "--admins", "--by", "mai"), other.email)
	command("user", "demote", other.email, "--by", "mai")
	require.NotContains(t, command("user", "list", "--admins"), other.email)
	command("user", "promote", other.email, "--by", "mai")
	call(http.StatusOK, http.MethodPost, "/users/"+other.id+"/disable", reason)
	for _, last := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPut, "/users/" + admin.id + "/role", map[string]string{"role": "USER"}},
		{http.MethodPost, "/users/" + admin.id + "/disable", nil}, {http.MethodDelete, "/users/" + admin.id, nil},
		{http.MethodDelete, "/users/me", map[string]string{"password": harness.Password}},
	} {
		refused(t, http.StatusConflict, 10009)(admin.client.Call(t.Context(), last.method, last.path, last.body))
	}
	for _, verb := range []string{"demote", "disable", "delete"} {
		out := s.Command(nil, harness.API, "user", verb, admin.email, "--by", "mai")
		require.Equal(t, 1, out.Code)
		require.Contains(t, out.Stderr, "last active administrator")
	}

	// Deleted, by its user, by command and by an administrator.
	login()
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodDelete, "/users/me", map[string]string{"password": harness.Password}))
	me(http.StatusUnauthorized)
	third := verified(t, s)
	command("user", "delete", other.email, "--by", "mai", "--reason", "a test")
	call(http.StatusOK, http.MethodDelete, "/users/"+third.id, reason)
	for _, who := range []*person{p, other, third} {
		recorded.wait("user.deleted", who.id)
		subscriptionState(t, s, who.id, "cancelled")
		require.Equal(t, "deleted", show(t, s, who.email).User.State)
	}

	// All of it is on record.
	var actions []string
	for _, e := range auditOf(t, s, admin, "user_id="+p.id) {
		by := map[string]string{"": "nobody", admin.id: "the administrator", p.id: "the user"}[e.ActorID]
		if e.Operator != "" {
			by = e.Operator
		}
		actions = append(actions, e.Action+" by "+by)
	}
	require.Equal(t, []string{
		"user.deleted by the user", "subscription.cancelled by the user", "sessions.ended by mai", "user.enabled by mai",
		"user.disabled by mai", "user.enabled by the administrator", "user.disabled by the administrator",
		"user.verified by the user", "subscription.created by nobody",
	}, actions)
	require.Equal(t, 3, strings.Count(command("audit", "--action", "user.deleted"), "user.deleted"))
	refused(t, http.StatusForbidden, 403)(verified(t, s).client.Call(t.Context(), http.MethodGet, "/audit", nil))

	select {
	case err := <-watching.ended:
		require.NoError(t, err)
	case <-time.After(harness.Patience):
		require.Fail(t, "the stream of a disabled user goes on")
	}
	command("sessions", "end", "--all", "--by", "mai")
	want(t, http.StatusUnauthorized)(admin.client.Call(t.Context(), http.MethodGet, "/audit", nil))
}

// disabledAccount tries every way into accounts that are disabled: the right password is told, and nothing else.
func disabledAccount(t *testing.T) {
	t.Parallel()
	s, admin := startWithAdministrator(t, "1000")
	p, unproven := verified(t, s), registered(t, s)
	invitee := &person{email: harness.Email()}
	admin.invite(t, []string{invitee.email})
	token := invitationToken(t, s, invitee.email)
	invitee.id = userID(t, s, invitee.email)
	code := p.forget(t, s, 2)
	change := func(who *person, verb string) {
		t.Helper()
		want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodPost, "/users/"+who.id+"/"+verb, nil))
	}
	everybody := []*person{p, unproven, invitee}
	for _, who := range everybody {
		change(who, "disable")
	}
	_, err := s.Mailbox.Wait(t.Context(), p.email, 3) // the notice
	require.NoError(t, err)

	for _, who := range []*person{p, unproven} {
		stranger := s.Client()
		refused(t, http.StatusUnauthorized, 20004)(stranger.Login(t.Context(), who.email, "not that one", false))
		refused(t, http.StatusUnauthorized, 20004)(stranger.SendCode(t.Context(), who.email, "not that one"))
	}
	refused(t, http.StatusForbidden, 20019)(s.Client().Login(t.Context(), p.email, harness.Password, false))
	refused(t, http.StatusForbidden, 20019)(s.Client().SendCode(t.Context(), p.email, harness.Password))
	refused(t, http.StatusBadRequest, 20005)(unproven.client.Verify(t.Context(), unproven.email, unproven.code))
	refused(t, http.StatusBadRequest, 20018)(spendReset(t, p.client, p.email, code))
	refused(t, http.StatusBadRequest, 20012)(accept(t, s.Client(), token))
	for _, who := range everybody {
		want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodPost, "/authentication/forgot-password",
			map[string]string{"email": who.email}))
	}
	want(t, http.StatusUnauthorized)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	s.OutboxEmpty()
	ledgerHas(t, s, 0, "state IN ('owed', 'sending')")
	for who, mails := range map[*person]int{p: 3, unproven: 1, invitee: 1} {
		require.Len(t, s.Mailbox.All(who.email), mails, "no mail to a disabled account but the notice")
	}

	for _, who := range everybody {
		change(who, "enable")
	}
	want(t, http.StatusOK)(s.Client().Login(t.Context(), p.email, harness.Password, false))
	want(t, http.StatusOK)(accept(t, s.Client(), token))
}
