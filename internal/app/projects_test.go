package app

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/internal/event"
)

const (
	admin         = "quan.ly@example.com"
	adminPassword = "a long enough one"
	internalKey   = "a key among services"
)

// loginAdmin registers, verifies, promotes and logs in.
func (p *program) loginAdmin(t *testing.T) {
	t.Helper()
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": admin, "password": adminPassword})
	mails, err := p.Inbox().Wait(t.Context(), admin, 1)
	require.NoError(t, err)
	otp := sixDigits.FindString(mails[0].Text)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": admin, "otp": otp})
	require.NoError(t, promote(t.Context(), p.cfg, p.db, admin))
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": admin, "password": adminPassword})
}

type progressAnswer struct {
	Status              string
	Total, Done, Errors int64
	Percent             float64
	Completed           bool
}

func (p *program) progress(t *testing.T, id string) (answer progressAnswer) {
	t.Helper()
	require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/projects/"+id+"/progress", nil), &answer))
	return answer
}

var invitationToken = regexp.MustCompile(`[A-Za-z0-9_-]{43}`) // a token may begin and end with -

func TestInvitations(t *testing.T) {
	t.Run("many are invited, mailed, counted and let in", func(t *testing.T) {
		t.Setenv("INVITATIONS_PER_SECOND", "1000")
		p := start(t, t.TempDir())
		p.loginAdmin(t)
		events, untap := p.Tap("job.completed")
		defer untap()

		upload := "email\nlan@example.com\nhoa@example.com\nno address\nlan@example.com\n" + admin + "\n"
		csv := []string{"Content-Type", "text/csv", "Idempotency-Key", "first", "lang", "vi"}
		var invited struct {
			ProjectID string `json:"project_id"`
			Accepted  int
			Rejected  []struct {
				Line    int
				Address string
				Reason  string
			}
		}
		first := p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", upload, csv...)
		require.NoError(t, json.Unmarshal(first, &invited))
		require.Equal(t, 2, invited.Accepted)
		require.Len(t, invited.Rejected, 3)
		require.JSONEq(t, string(first), string(p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", upload, csv...)))
		status, code, _ := p.call(t, http.MethodPost, "/users/invitations", upload+"x@example.com\n", csv...)
		require.Equal(t, []int{http.StatusConflict, 20017}, []int{status, code})

		done := <-events
		apitest.NewEvents(t).Check(t, done)
		completed, data, err := event.Decode[event.JobCompletedData](done)
		require.NoError(t, err)
		require.Equal(t, invited.ProjectID, completed.ProjectID)
		require.Equal(t, []int64{2, 2, 0}, []int64{data.Total, data.Done, data.Errors})
		require.Equal(t, progressAnswer{Status: "DONE", Total: 2, Done: 2, Percent: 100}, p.progress(t, invited.ProjectID))
		status, stream := p.request(t, http.MethodGet, "/projects/"+invited.ProjectID+"/progress/stream", nil)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, string(stream), "event: completed\n")

		mails, err := p.Inbox().Wait(t.Context(), admin, 2)
		require.NoError(t, err)
		require.Contains(t, mails[0].Text+mails[1].Text, invited.ProjectID, "the closing mail")
		mails, err = p.Inbox().Wait(t.Context(), "lan@example.com", 1)
		require.NoError(t, err)
		require.Contains(t, mails[0].HTML, `lang="vi"`)
		token := invitationToken.FindString(mails[0].Text)
		accept := fields{"token": token, "password": "lan's own password"}
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/accept-invitation", accept)
		p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil) // logged in as Lan, whose trial has begun
		_, code, _ = p.call(t, http.MethodPost, "/authentication/accept-invitation", accept)
		require.Equal(t, 20013, code)
		status, code, _ = p.call(t, http.MethodPost, "/users/invitations/"+invited.ProjectID+"/cancel", nil)
		require.Equal(t, []int{http.StatusForbidden, 403}, []int{status, code}, "Lan is no administrator")
		status, code, _ = p.call(t, http.MethodGet, "/projects/"+invited.ProjectID+"/progress", nil)
		require.Equal(t, []int{http.StatusNotFound, 140002}, []int{status, code}, "and it is not her project")

		logs := p.logs.String()
		for _, secret := range []string{token, "lan@example.com", adminPassword} {
			require.NotContains(t, logs, secret)
		}
	})
	t.Run("a batch is cancelled", func(t *testing.T) {
		t.Setenv("INVITATIONS_PER_SECOND", "1")
		p := start(t, t.TempDir())
		p.loginAdmin(t)
		list := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com"}
		var invited struct {
			ProjectID string `json:"project_id"`
		}
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", list), &invited))
		_, err := p.Inbox().Wait(t.Context(), "a@example.com", 1)
		require.NoError(t, err)
		path := "/users/invitations/" + invited.ProjectID + "/cancel"
		var cancelled struct{ Cancelled int64 }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodPost, path, nil), &cancelled))
		require.Positive(t, cancelled.Cancelled)
		require.Eventually(t, func() bool { return p.progress(t, invited.ProjectID).Status == "DONE" }, 10*time.Second, 10*time.Millisecond)
		require.Equal(t, progressAnswer{Status: "DONE", Total: 4, Done: 4, Errors: cancelled.Cancelled, Percent: 100}, p.progress(t, invited.ProjectID))

		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": "d@example.com", "password": adminPassword})
		_, err = p.Inbox().Wait(t.Context(), "d@example.com", 1)
		require.NoError(t, err, "the address is free again")
		_, code, _ := p.call(t, http.MethodPost, "/users/invitations/proj_unknown/cancel", nil)
		require.Equal(t, 20015, code)
	})
}

func TestProjects(t *testing.T) {
	t.Run("other services count their items", func(t *testing.T) {
		t.Setenv("INTERNAL_KEY", internalKey)
		p := start(t, t.TempDir())
		events, untap := p.Tap("job.completed")
		defer untap()
		key := []string{"X-Internal-Key", internalKey}
		change := func(method, path string, body any, header ...string) (c progressAnswer) {
			t.Helper()
			require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, method, "/internal/projects/"+path, body, header...), &c))
			return c
		}
		status, code, _ := p.call(t, http.MethodPost, "/internal/projects/p1", fields{"user_id": "u1"})
		require.Equal(t, []int{http.StatusUnauthorized, 401}, []int{status, code})
		_, code, _ = p.call(t, http.MethodPost, "/internal/projects/p1/items", fields{"items": []fields{{"item_id": "a"}}}, key...)
		require.Equal(t, 140002, code)
		require.Equal(t, progressAnswer{Status: "INITIALIZING"},
			change(http.MethodPost, "p1", fields{"user_id": "u1"}, "Authorization", internalKey))
		require.Equal(t, progressAnswer{Status: "CRAWLING", Total: 2},
			change(http.MethodPut, "p1/total", fields{"total": 2, "final": false}, key...))
		items := fields{"items": []fields{{"item_id": "a"}, {"item_id": "b", "failed": true}}}
		require.Equal(t, progressAnswer{Status: "CRAWLING", Total: 2, Done: 2, Errors: 1, Percent: 100},
			change(http.MethodPost, "p1/items", items, key...))
		require.Equal(t, progressAnswer{Status: "DONE", Total: 2, Done: 2, Errors: 1, Percent: 100, Completed: true},
			change(http.MethodPut, "p1/total", fields{"total": 2, "final": true}, key...))
		apitest.NewEvents(t).Check(t, <-events)
		require.Equal(t, progressAnswer{Status: "DONE", Total: 2, Done: 2, Percent: 100},
			change(http.MethodPost, "p1/items", fields{"items": []fields{{"item_id": "b"}}}, key...), "repaired")
		_, code, _ = p.call(t, http.MethodPost, "/internal/projects/p1/fail", fields{"reason": "too late"}, key...)
		require.Equal(t, 140003, code)
		_, code, _ = p.call(t, http.MethodPost, "/internal/projects/p1/fail", fields{"reason": "x", "why": "y"}, key...)
		require.Equal(t, 140001, code)
		require.Empty(t, events, "announced once")

		var report struct {
			progressAnswer
			UserID string `json:"user_id"`
		}
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/internal/projects/p1", nil, key...), &report))
		require.Equal(t, progressAnswer{Status: "DONE", Total: 2, Done: 2, Percent: 100}, report.progressAnswer)
		require.Equal(t, "u1", report.UserID)
		report.UserID = ""
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/internal/projects/p2", nil, key...), &report))
		require.Equal(t, progressAnswer{Status: "NOT_FOUND"}, report.progressAnswer)
		require.Empty(t, report.UserID)
	})
	t.Run("an owner in capitals sees their project", func(t *testing.T) {
		t.Setenv("INTERNAL_KEY", internalKey)
		p := start(t, t.TempDir())
		p.loginAdmin(t)
		var me struct{ ID string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil), &me))
		_, err := p.db.Exec(t.Context(), "demoting", "UPDATE users SET role_hash = NULL")
		require.NoError(t, err, "an administrator sees every project")
		p.ok(t, http.StatusOK, http.MethodPost, "/internal/projects/p1", fields{"user_id": strings.ToUpper(me.ID), "total": 2},
			"X-Internal-Key", internalKey)
		require.Equal(t, progressAnswer{Status: "INITIALIZING", Total: 2}, p.progress(t, "p1"))
	})
}
