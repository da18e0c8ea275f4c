package inbox_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/inbox"
)

func call(t *testing.T, method, address string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), method, address, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func TestAPI(t *testing.T) {
	t.Parallel()
	t.Run("lists messages", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		list := func(query string) []map[string]any {
			response, body := call(t, http.MethodGet, box.URL()+"/api/messages"+query)
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.Equal(t, "application/json; charset=utf-8", response.Header.Get("Content-Type"))
			var mails []map[string]any
			require.NoError(t, json.Unmarshal([]byte(body), &mails))
			return mails
		}
		_, body := call(t, http.MethodGet, box.URL()+"/api/messages")
		require.JSONEq(t, `[]`, body)

		send(t, box, []string{"anna+1@example.com"}, "From: S <s@example.com>\nSubject: one\nMessage-ID: <m1@x>\n\nfirst\n")
		send(t, box, []string{"bob@example.com"}, "From: s@example.com\nSubject: two\nContent-Type: text/html\n\n<i>second</i>\n")
		send(t, box, []string{"anna+1@example.com"}, "From: s@example.com\nSubject: three\n\nthird\n")

		mine := list("?to=" + url.QueryEscape("ANNA+1@example.com"))
		require.Len(t, mine, 2)
		require.Equal(t, "three", mine[0]["subject"])
		received, err := time.Parse(time.RFC3339Nano, mine[1]["received_at"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), received, time.Minute)
		delete(mine[1], "received_at")
		require.NotEmpty(t, mine[1]["id"])
		delete(mine[1], "id")
		require.Equal(t, map[string]any{
			"from": "s@example.com", "to": "anna+1@example.com", "subject": "one", "text": "first\n", "html": "",
		}, mine[1], "exactly the agreed keys")

		require.Len(t, list(""), 3)
		require.Empty(t, list("?to=none@example.com"))
		newest := list("?limit=1")
		require.Len(t, newest, 1)
		require.Equal(t, "three", newest[0]["subject"])
		require.Len(t, list("?limit=99"), 3)
		for _, wrong := range []string{"0", "-1", "x", "1.5"} {
			response, body := call(t, http.MethodGet, box.URL()+"/api/messages?limit="+wrong)
			require.Equal(t, http.StatusBadRequest, response.StatusCode, wrong)
			require.Contains(t, body, "limit must be")
		}
	})

	t.Run("returns one message with its headers", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		send(t, box, []string{"a@example.com"}, "From: =?utf-8?q?=C4=90an?= <s@example.com>\nSubject: one\nMessage-ID: <m1@x>\n"+
			"Received: by one\nReceived: by two\n\nfirst\n")
		m := box.Messages("")[0]

		response, body := call(t, http.MethodGet, box.URL()+"/api/messages/"+m.ID)
		require.Equal(t, http.StatusOK, response.StatusCode)
		var got struct {
			inbox.Message
			MessageID string              `json:"message_id"`
			Headers   map[string][]string `json:"headers"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.Equal(t, m.ID, got.ID)
		require.Equal(t, "first\n", got.Text)
		require.Equal(t, "m1@x", got.MessageID)
		require.Equal(t, []string{"Đan <s@example.com>"}, got.Headers["From"])
		require.Equal(t, []string{"by one", "by two"}, got.Headers["Received"])

		response, _ = call(t, http.MethodGet, box.URL()+"/api/messages/unknown")
		require.Equal(t, http.StatusNotFound, response.StatusCode)
	})

	t.Run("deletes all messages", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		send(t, box, []string{"a@example.com"}, "Subject: one\n\nx\n")
		response, _ := call(t, http.MethodDelete, box.URL()+"/api/messages")
		require.Equal(t, http.StatusNoContent, response.StatusCode)
		require.Empty(t, box.Messages(""))
		send(t, box, []string{"a@example.com"}, "Subject: two\n\nx\n")
		require.Equal(t, []string{"two"}, subjects(box.Messages("")))
	})

	t.Run("streams messages as they arrive", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{Capacity: 2})
		send(t, box, []string{"a@example.com"}, "Subject: one\n\nx\n")
		send(t, box, []string{"a@example.com"}, "Subject: two\n\nx\n")

		request, err := http.NewRequestWithContext(within(t), http.MethodGet, box.URL()+"/api/events", nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
		events := stream{t, bufio.NewScanner(response.Body)}

		name, _ := events.next()
		require.Equal(t, "reset", name)
		_, mails := events.next()
		require.Equal(t, []string{"one", "two"}, subjects(mails), "those already here, oldest first")

		send(t, box, []string{"a@example.com"}, "Subject: three\n\nx\n")
		_, mails = events.next()
		require.Equal(t, []string{"three"}, subjects(mails), "only the new one, although the oldest was pushed out")

		call(t, http.MethodDelete, box.URL()+"/api/messages")
		name, _ = events.next()
		require.Equal(t, "reset", name)
		send(t, box, []string{"a@example.com"}, "Subject: four\n\nx\n")
		_, mails = events.next()
		require.Equal(t, []string{"four"}, subjects(mails))
		// The cleanup of start proves that Run ends although this stream is open.
	})
}

func TestPage(t *testing.T) {
	t.Parallel()
	t.Run("is served with its policy", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		for path, kind := range map[string]string{
			"/":         "text/html; charset=utf-8",
			"/page.js":  "text/javascript; charset=utf-8",
			"/page.css": "text/css; charset=utf-8",
		} {
			response, body := call(t, http.MethodGet, box.URL()+path)
			require.Equal(t, http.StatusOK, response.StatusCode, path)
			require.Equal(t, kind, response.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"))
			policy := response.Header.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'")
			require.Contains(t, policy, "script-src 'self';")
			require.NotContains(t, body, "innerHTML", "texts of mails must not become markup")
		}
		_, body := call(t, http.MethodGet, box.URL()+"/")
		require.Contains(t, body, `sandbox="allow-popups allow-popups-to-escape-sandbox"`)
		require.NotRegexp(t, `<(script|style)>|\son\w+=|https?://[^w]`, body, "the policy forbids inline code; nothing is loaded from elsewhere")

		response, body := call(t, http.MethodGet, box.URL()+"/live")
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.JSONEq(t, `{"status":"ok"}`, body)

		response, _ = call(t, http.MethodGet, box.URL()+"/nothing-here")
		require.Equal(t, http.StatusNotFound, response.StatusCode)
		response, _ = call(t, http.MethodPost, box.URL()+"/api/messages")
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	})
}

func TestHosts(t *testing.T) {
	t.Parallel()
	box := start(t, inbox.Options{Hosts: []string{"inbox"}, FramePort: func() int { return 8080 }})
	ask := func(method, host string, header ...string) *http.Response {
		request, err := http.NewRequestWithContext(within(t), method, box.URL()+"/api/messages", nil)
		require.NoError(t, err)
		request.Host = host
		for pair := range slices.Chunk(header, 2) {
			request.Header.Set(pair[0], pair[1])
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	send(t, box, []string{"a@example.com"}, "Subject: one\n\nx\n")

	t.Run("a name that may be a stranger's is refused", func(t *testing.T) {
		for _, host := range []string{"evil.test", "evil.test:8025", "127.0.0.1.evil.test"} {
			require.Equal(t, http.StatusForbidden, ask(http.MethodGet, host).StatusCode, host)
		}
		for _, host := range []string{"127.0.0.1:8025", "localhost:8025", "[::1]:8025", "inbox:8025"} {
			require.Equal(t, http.StatusOK, ask(http.MethodGet, host).StatusCode, host)
		}
	})
	t.Run("a page of another site deletes nothing", func(t *testing.T) {
		for _, site := range []string{"cross-site", "same-site"} {
			require.Equal(t, http.StatusForbidden, ask(http.MethodDelete, "localhost", "Sec-Fetch-Site", site).StatusCode)
		}
		require.Equal(t, http.StatusForbidden, ask(http.MethodDelete, "localhost", "Origin", "http://evil.test").StatusCode)
		require.Len(t, box.Messages(""), 1)
		require.Equal(t, http.StatusNoContent, ask(http.MethodDelete, "localhost", "Sec-Fetch-Site", "same-origin").StatusCode)
	})
	t.Run("only the page beside it shows it in a frame", func(t *testing.T) {
		require.Contains(t, ask(http.MethodGet, "localhost:8025").Header.Get("Content-Security-Policy"),
			"; frame-ancestors http://localhost:8080")
		require.Contains(t, ask(http.MethodGet, "127.0.0.1:8025").Header.Get("Content-Security-Policy"),
			"; frame-ancestors http://127.0.0.1:8080")
		alone := start(t, inbox.Options{})
		response, _ := call(t, http.MethodGet, alone.URL()+"/")
		require.Contains(t, response.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	})
}

// stream reads server-sent events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (s stream) next() (name string, mails []inbox.Message) {
	s.t.Helper()
	for s.lines.Scan() {
		switch field, value, _ := strings.Cut(s.lines.Text(), ": "); field {
		case "event":
			name = value
		case "data":
			if name == "mails" {
				require.NoError(s.t, json.Unmarshal([]byte(value), &mails))
			}
		case "":
			return name, mails
		}
	}
	require.Fail(s.t, "the event stream ended", s.lines.Err())
	return "", nil
}
