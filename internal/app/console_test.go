package app

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/console"
	"github.com/smap-platform/identity/internal/event"
)

// paths returns the paths of events with a key as soon as there are n whose handlers have all ended.
func (p *program) paths(t *testing.T, key event.RoutingKey, n int) []console.Path {
	t.Helper()
	for {
		all, _, changed := p.embedded.recorder.Since(0)
		var found []console.Path
		for _, path := range all {
			if path.Key != string(key) {
				continue
			}
			handlers := path.At(console.Handler)
			if len(handlers) > 0 && handlers[len(handlers)-1].Outcome != "" {
				found = append(found, path)
			}
		}
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			require.Fail(t, "the context has ended")
		}
	}
}

func places(steps []console.Step) (where []string) {
	for _, s := range steps {
		where = append(where, s.Where)
	}
	return where
}

func TestConsole(t *testing.T) {
	t.Run("shows the whole path of what a person does, and no code", func(t *testing.T) {
		p := start(t, t.TempDir())
		const email = "an@example.com"
		userID := p.verified(t, email, 1)
		p.requireState(t, userID, "trialing")

		mail := p.paths(t, event.EmailVerificationRequested, 1)[0]
		require.Regexp(t, "^evt_", mail.ID)
		require.Regexp(t, "^[0-9a-f]{32}$", mail.Trace)
		var stages []console.Stage
		for _, s := range mail.Steps {
			stages = append(stages, s.Stage)
		}
		require.Equal(t, []console.Stage{console.Outbox, console.Exchange, console.Queue, console.Handler}, stages[:4])
		require.Equal(t, []string{EmailQueue}, places(mail.At(console.Handler)))
		require.Equal(t, event.Handled, mail.At(console.Handler)[0].Outcome)
		require.Contains(t, places(mail.At(console.Effect)), "mail: accepted by the server")
		require.Contains(t, places(mail.At(console.Effect)), "database: update mail_deliveries")

		trial := p.paths(t, event.SubscriptionCreated, 1)[0]
		require.NotEqual(t, mail.Trace, trial.Trace)
		require.Contains(t, places(trial.At(console.Effect)), "redis: script smap:sub:"+userID)

		mails, err := p.Inbox().Wait(t.Context(), email, 1)
		require.NoError(t, err)
		code := sixDigits.FindString(mails[0].Text)
		all, _, _ := p.embedded.recorder.Since(0)
		kept, err := json.Marshal(all)
		require.NoError(t, err)
		for _, secret := range []string{code, email, "a long enough one"} {
			require.NotContains(t, string(kept), secret)
		}
		page := p.stream(t)
		require.Contains(t, page, mail.ID)
		require.NotContains(t, page, `"`+code)
	})

	t.Run("shows a reminder in both queues, and the end of a trial, at their own time", func(t *testing.T) {
		p := start(t, t.TempDir())
		began := p.clock.Now()
		p.verified(t, "an@example.com", 1)
		p.advance(t, 14)
		reminders := p.paths(t, event.EmailTrialEndingRequested, 2)
		for i, days := range []int{11, 13} {
			require.Equal(t, []string{EmailQueue, InvitationQueue}, places(reminders[i].At(console.Queue)))
			require.Equal(t, began.AddDate(0, 0, days).Format("2 Jan"), reminders[i].Begun.Format("2 Jan"))
		}
		require.Len(t, p.paths(t, event.SubscriptionCancelled, 1), 1)
	})

	t.Run("shows an event that fails, and one that nobody here takes", func(t *testing.T) {
		p := start(t, t.TempDir())
		const evil = "<script>alert(1)</script>"
		require.NoError(t, p.embedded.broker.Send(t.Context(), []event.Message{{
			ID: evil, Exchange: event.Exchange, RoutingKey: "email." + evil, Body: []byte(evil),
			Headers: map[string]string{event.HeaderTraceparent: "00-" + evil + "-x-01"},
		}, {ID: "evt_1", Exchange: event.Exchange, RoutingKey: string(event.JobCompleted)}})[0])
		path := p.paths(t, event.RoutingKey("email."+evil), 1)[0]
		require.True(t, path.At(console.Handler)[0].Failed)
		require.Equal(t, event.ReasonUnknownKey, path.At(console.Handler)[0].Outcome)
		for !strings.Contains(strings.Join(places(path.At(console.Queue)), " "), EmailQueue+".dead") {
			path = p.paths(t, event.RoutingKey("email."+evil), 1)[0]
		}
		page := p.stream(t)
		require.NotContains(t, page, evil)
		require.Contains(t, page, "for other services")
	})

	t.Run("makes an administrator", func(t *testing.T) {
		p := start(t, t.TempDir())
		p.verified(t, "an@example.com", 1)
		p.ok(t, http.StatusOK, http.MethodPost, "/dev/promote", fields{"email": "an@example.com"})
		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		p.ok(t, http.StatusOK, http.MethodGet, "/users", nil)
		status, _, _ := p.call(t, http.MethodPost, "/dev/promote", fields{"email": uuid.NewString() + "@example.com"})
		require.Equal(t, http.StatusNotFound, status)
	})

	t.Run("is refused where HOST lets other machines in, unless they are meant to be", func(t *testing.T) {
		for public, want := range map[string]int{"": http.StatusForbidden, "true": http.StatusOK} {
			t.Setenv("HOST", "0.0.0.0")
			t.Setenv("STANDALONE_PUBLIC", public)
			p := start(t, t.TempDir())
			status, _ := p.raw(t, http.MethodGet, "/", "")
			require.Equal(t, want, status)
			status, _ = p.raw(t, http.MethodPost, "/dev/clock/advance", `{"days":1}`)
			require.Equal(t, want, status)
			require.Equal(t, map[string]string{"": "127.0.0.1", "true": "0.0.0.0"}[public], inboxHost(p.cfg))
			status, _ = p.raw(t, http.MethodPost, "/dev/clock/advance", `{"days":1}`, "Host", "evil.test")
			require.Equal(t, http.StatusForbidden, status)
			require.Equal(t, public == "", strings.Contains(p.logs.String(), "STANDALONE_PUBLIC"))
		}
	})
}

// raw makes a request that no contract knows.
func (p *program) raw(t *testing.T, method, path, body string, header ...string) (status int, content string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.APIURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	response, err := p.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		content += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "data: ") {
			return response.StatusCode, content
		}
	}
	return response.StatusCode, content
}

// stream returns the first event of the console's stream.
func (p *program) stream(t *testing.T) string {
	t.Helper()
	status, content := p.raw(t, http.MethodGet, "/dev/flow", "", "Accept", "text/event-stream")
	require.Equal(t, http.StatusOK, status)
	return content
}
