package app

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
)

// entriesOf returns what the audit has of a user, the oldest first: action, outcome and who did it.
func (p *program) entriesOf(t *testing.T, userID string) (entries []string) {
	t.Helper()
	var found struct{ Entries []map[string]any }
	require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/audit?limit=100&user_id="+userID, nil), &found))
	for i := len(found.Entries) - 1; i >= 0; i-- {
		e := found.Entries[i]
		who, _ := e["actor_id"].(string)
		if operator, ok := e["operator"].(string); ok {
			who = "operator " + operator
		} else {
			require.NotEmpty(t, e["request_id"])
			require.NotEmpty(t, e["user_agent"])
		}
		entries = append(entries, e["action"].(string)+" "+e["outcome"].(string)+" "+who)
	}
	return entries
}

// An administrator's morning: a disabled account opens to nobody, and is as it was when it is enabled.
func TestDisabledAccount(t *testing.T) {
	const email, password, guessed = "mai@example.com", "a long enough one", "a guessed long one"
	p := start(t, t.TempDir(), func(a *App) { a.streamCheck = 10 * time.Millisecond })
	id := p.verified(t, email, 1)
	owner, stranger := p.surfer(t, "198.51.100.7"), p.surfer(t, "203.0.113.7")
	login := func(s *surfer, password string) []int {
		return s.verdict(t, "/authentication/login", fields{"email": email, "password": password})
	}
	require.Equal(t, []int{200, 0}, login(owner, password))
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/forgot-password", fields{"email": email}))
	otp := owner.newest(t, email, 2)
	events, untap := p.Tap("user.#")
	defer untap()

	newcomer := p.surfer(t, "198.51.100.9")
	unproven := fields{"email": "an@example.com", "password": password}
	require.Equal(t, []int{201, 0}, newcomer.verdict(t, "/authentication/register", unproven))
	code := newcomer.newest(t, "an@example.com", 1)
	streamEnded := owner.watch(t, id)

	p.loginAdmin(t)
	adminID := p.text(t, "SELECT id FROM users WHERE username = $1", admin)
	p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", "email\nlan@example.com\n", "Content-Type", "text/csv")
	invited, err := p.Inbox().Wait(t.Context(), "lan@example.com", 1)
	require.NoError(t, err)
	for _, email := range []string{"an@example.com", "lan@example.com"} {
		require.NoError(t, p.operator(t).Disable(t.Context(), email, ""))
	}
	select {
	case <-streamEnded:
		require.Fail(t, "the stream ends although its user is logged in")
	default:
	}
	answer := p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/disable", fields{"reason": "a test"})
	require.Contains(t, string(answer), `"is_active":false,"disabled_at":"`)
	mails, err := p.Inbox().Wait(t.Context(), email, 3)
	require.NoError(t, err)
	require.Contains(t, mails[0].Subject, "disabled")

	<-streamEnded
	require.Equal(t, http.StatusUnauthorized, owner.me(t))
	require.Equal(t, []int{403, 20019}, login(owner, password))
	require.Equal(t, []int{403, 20019}, owner.verdict(t, "/authentication/send-otp", fields{"email": email, "password": password}))
	require.Equal(t, []int{401, 20004}, login(stranger, guessed))
	require.NotEqual(t, 200, owner.verdict(t, "/authentication/reset-password",
		fields{"email": email, "otp": otp, "password": guessed})[0], "a code of before")
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/forgot-password", fields{"email": email}))
	require.Equal(t, []int{201, 0}, stranger.verdict(t, "/authentication/register", fields{"email": email, "password": guessed}))
	mails, err = p.Inbox().Wait(t.Context(), email, 4)
	require.NoError(t, err)
	require.Empty(t, sixDigits.FindString(mails[0].Text), "the owner is told, and nobody gets a code")

	verify := fields{"email": "an@example.com", "otp": code}
	require.Equal(t, []int{400, 20005}, newcomer.verdict(t, "/authentication/verify-otp", verify), "the right code")
	acceptance := fields{"token": invitationToken.FindString(invited[0].Text), "password": guessed}
	require.Equal(t, []int{400, 20012}, stranger.verdict(t, "/authentication/accept-invitation", acceptance))
	for _, email := range []string{"an@example.com", "lan@example.com"} {
		require.NoError(t, p.operator(t).Enable(t.Context(), email))
	}
	require.Equal(t, []int{200, 0}, stranger.verdict(t, "/authentication/accept-invitation", acceptance))

	p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/enable", nil)
	require.Equal(t, http.StatusUnauthorized, owner.me(t), "what has ended stays ended")
	require.Equal(t, []int{200, 0}, login(owner, password))
	require.Equal(t, []int{401, 20004}, login(stranger, "another guess"))

	for _, key := range []event.RoutingKey{event.UserDisabled, event.UserEnabled} {
		for m := range events {
			if strings.Contains(string(m.Body), id) {
				require.Equal(t, string(key), m.RoutingKey)
				break
			}
		}
	}
	require.Equal(t, []string{
		"subscription.created done ", "user.verified done " + id, "user.disabled done " + adminID, "user.enabled done " + adminID,
	}, p.entriesOf(t, id))
	reason := p.text(t, "SELECT reason FROM audit_entries WHERE action = 'user.disabled' AND user_id = $1", id)
	require.Equal(t, "a test", reason)
}

// watch opens a stream of a project of the user, and returns when its first event has come. The channel is closed when the
// stream has ended.
func (s *surfer) watch(t *testing.T, userID string) (ended <-chan struct{}) {
	t.Helper()
	_, err := s.App.progress.count.Init(t.Context(), "proj_watched", userID, 1)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.APIURL()+"/projects/proj_watched/progress/stream", nil)
	require.NoError(t, err)
	response, err := s.client.Do(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	lines := bufio.NewReader(response.Body)
	for line := ""; line != "event: progress\n"; {
		line, err = lines.ReadString('\n')
		require.NoError(t, err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, lines)
	}()
	return closed
}

// A deleted account leaves nothing that opens, and its address to the next person.
func TestDeletedAccount(t *testing.T) {
	const email, password = "mai@example.com", "a long enough one"
	for name, remove := range map[string]func(p *program, owner *surfer, id string) (reason, who string){
		"by its user": func(p *program, owner *surfer, id string) (string, string) {
			del := func(password string) int {
				status, _ := owner.send(t, http.MethodDelete, "/users/me", fields{"password": password})
				return status
			}
			require.Equal(t, http.StatusUnauthorized, del("not it at all"))
			require.Equal(t, http.StatusOK, owner.me(t))
			require.Equal(t, http.StatusOK, del(password))
			return "account_deleted", id
		},
		"by an administrator": func(p *program, _ *surfer, id string) (string, string) {
			p.loginAdmin(t)
			p.ok(t, http.StatusOK, http.MethodDelete, "/users/"+id, fields{"reason": "asked for it"})
			return "account_deleted", p.text(t, "SELECT id FROM users WHERE username = $1", admin)
		},
		"by an operator": func(p *program, _ *surfer, _ string) (string, string) {
			require.NoError(t, p.operator(t).Delete(t.Context(), email, ""))
			return "account_deleted", "operator a test"
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir())
			id := p.verified(t, email, 1)
			owner := p.surfer(t, "198.51.100.7")
			require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/login", fields{"email": email, "password": password}))
			cancelled, untap := p.Tap("subscription.cancelled")
			defer untap()
			deleted, untap := p.Tap("user.deleted")
			defer untap()
			reason, who := remove(p, owner, id)

			require.Contains(t, string((<-cancelled).Body), `"cancellation_reason":"`+reason+`"`)
			var e struct {
				Payload struct{ Data event.UserDeletedData }
			}
			require.NoError(t, json.Unmarshal((<-deleted).Body, &e))
			require.Equal(t, id, e.Payload.Data.UserID)
			require.Equal(t, p.cfg.Accounts.EraseAfter, e.Payload.Data.EraseAt.Sub(e.Payload.Data.OccurredAt))
			mails, err := p.Inbox().Wait(t.Context(), email, 2)
			require.NoError(t, err)
			require.Contains(t, mails[0].Subject, "deleted")
			require.Equal(t, http.StatusUnauthorized, owner.me(t))
			require.Equal(t, []int{401, 20004},
				owner.verdict(t, "/authentication/login", fields{"email": email, "password": password}))

			another := p.verified(t, email, 3)
			require.NotEqual(t, id, another)
			require.Equal(t, 0, p.number(t, "SELECT count(*) FROM subscriptions WHERE user_id = $1", another), "one trial for ever")
			if name != "by an administrator" {
				p.loginAdmin(t)
			} else {
				p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": admin, "password": adminPassword})
			}
			require.Equal(t, []string{
				"subscription.created done ", "user.verified done " + id, "subscription.cancelled done " + who, "user.deleted done " + who,
			}, p.entriesOf(t, id))
		})
	}
}

// The last administrator stays one, by whatever way.
func TestLastAdministratorStays(t *testing.T) {
	p := start(t, t.TempDir())
	p.loginAdmin(t)
	id := p.text(t, "SELECT id FROM users WHERE username = $1", admin)
	for _, call := range [][]any{
		{http.MethodPut, "/users/" + id + "/role", fields{"role": "USER"}}, {http.MethodPost, "/users/" + id + "/disable", nil},
		{http.MethodDelete, "/users/" + id, nil}, {http.MethodDelete, "/users/me", fields{"password": adminPassword}},
	} {
		status, code, _ := p.call(t, call[0].(string), call[1].(string), call[2])
		require.Equal(t, []int{409, 10009}, []int{status, code}, call[1])
	}
	require.ErrorContains(t, p.operator(t).Delete(t.Context(), admin, ""), "last active administrator")
	p.ok(t, http.StatusOK, http.MethodGet, "/users", nil)
	require.Zero(t, p.number(t, "SELECT count(*) FROM audit_entries WHERE action NOT IN ($1, $2, $3)",
		string(audit.UserVerified), string(audit.SubscriptionCreated), string(audit.UserRoleChanged)))
}
