package http_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/smap-platform/identity/internal/console"
	delivery "github.com/smap-platform/identity/internal/console/delivery/http"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var now = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

type site struct {
	*httptest.Server
	recorder *console.Recorder
	promoted []string
}

func serve(t *testing.T, guard delivery.Guard) *site {
	t.Helper()
	s := &site{recorder: console.NewRecorder(func() time.Time { return now })}
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), Timeout: time.Second, Routes: delivery.Limits()})
	delivery.Register(e, delivery.Options{
		Recorder: s.recorder, Guard: guard, Version: "v1<2>", Now: func() time.Time { return now },
		InboxPort: func() int { return 8025 },
		Promote: func(_ context.Context, email string) error {
			if email == "nobody@example.com" {
				return errors.New("there is none")
			}
			s.promoted = append(s.promoted, email)
			return nil
		},
	})
	s.Server = httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s
}

// ask makes a request; header are pairs, of which Host is the request's own.
func (s *site) ask(t *testing.T, method, path, body string, header ...string) (status int, h http.Header, content string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
		if pair[0] == "Host" {
			request.Host = pair[1]
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var b strings.Builder
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
	}
	return response.StatusCode, response.Header, b.String()
}

var open = delivery.Guard{Open: true}

func TestPage(t *testing.T) {
	t.Parallel()
	t.Run("brings nothing from elsewhere, and no script or style of its own", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		status, h, body := s.ask(t, http.MethodGet, "/", "", "Host", "localhost:8080")
		require.Equal(t, http.StatusOK, status)
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-src http://localhost:8025;",
			"form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'",
		} {
			require.Contains(t, policy, part)
		}
		require.NotContains(t, policy, "unsafe")
		require.Contains(t, body, `<iframe src="http://localhost:8025/"`)
		require.Contains(t, body, "v1&lt;2&gt;")
		require.NotRegexp(t, `<style|<script>|\son\w+=|\sstyle=|javascript:`, body)
		for path, kind := range map[string]string{
			"/dev/console/console.js": "text/javascript", "/dev/console/console.css": "text/css", "/dev/console/icon.svg": "image/svg+xml",
		} {
			status, h, content := s.ask(t, http.MethodGet, path, "")
			require.Equal(t, http.StatusOK, status, path)
			require.Contains(t, h.Get("Content-Type"), kind)
			require.NotRegexp(t, `https?://[^w]`, strings.ReplaceAll(content, "http://www.w3.org/2000/svg", ""), path)
		}
	})
	t.Run("shows the inbox at addresses of IPv6 as far as a policy can name it", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		for host, want := range map[string]string{"[::1]:8080": "http://localhost:8080/", "[::1]": "http://localhost/"} {
			status, h, _ := s.ask(t, http.MethodGet, "/", "", "Host", host)
			require.Equal(t, http.StatusTemporaryRedirect, status)
			require.Equal(t, want, h.Get("Location"))
		}
		_, h, body := s.ask(t, http.MethodGet, "/", "", "Host", "[2001:db8::1]:8080")
		require.Contains(t, h.Get("Content-Security-Policy"), "frame-src 'none';")
		require.NotContains(t, body, "<iframe")
		require.Contains(t, body, `href="http://[2001:db8::1]:8025/"`)
	})
	t.Run("names everything a person can use", func(t *testing.T) {
		t.Parallel()
		_, _, body := serve(t, open).ask(t, http.MethodGet, "/", "")
		page, err := html.Parse(strings.NewReader(body))
		require.NoError(t, err)
		ids, labelled := map[string]bool{}, map[string]bool{}
		each(page, func(n *html.Node) {
			if id := attribute(n, "id"); id != "" {
				require.False(t, ids[id], "the id %s is there twice", id)
				ids[id] = true
			}
			labelled[attribute(n, "for")] = true
		})
		each(page, func(n *html.Node) {
			if by := attribute(n, "aria-labelledby"); by != "" {
				require.True(t, ids[by], by)
			}
			switch n.Data {
			case "input", "textarea":
				wrapped := n.Parent.Data == "label"
				require.True(t, wrapped || labelled[attribute(n, "id")], "%s has no label", attribute(n, "id"))
			case "iframe":
				require.NotEmpty(t, attribute(n, "title"))
			case "section", "form":
				require.NotEmpty(t, attribute(n, "aria-labelledby"))
			}
		})
	})
}

func each(n *html.Node, do func(*html.Node)) {
	if n.Type == html.ElementNode {
		do(n)
	}
	for c := range n.ChildNodes() {
		each(c, do)
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// stream reads the paths' events of a site.
func stream(t *testing.T, s *site) (next func() (rows []string)) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/dev/flow", nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return func() []string {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var changes struct{ Rows []string }
				require.NoError(t, json.Unmarshal([]byte(data), &changes))
				return changes.Rows
			}
		}
		require.Fail(t, "the stream has ended")
		return nil
	}
}

func TestFlow(t *testing.T) {
	t.Parallel()
	t.Run("sends what is there, and then what changes", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		f := console.Fact{ID: "evt_1", Key: "user.verified", Trace: "0af7651916cd43dd8448eb211c80319c"}
		s.recorder.Record(f, console.Outbox, "row committed")
		next := stream(t, s)
		rows := next()
		require.Len(t, rows, 1)
		for _, part := range []string{`id="event-1"`, "user.<wbr>verified", "evt_1", f.Trace, "row committed", "09:00:00.000"} {
			require.Contains(t, rows[0], part)
		}
		s.recorder.Begin(f, "identity.email")("exhausted", true, 1500*time.Millisecond)
		for rows = next(); len(rows) == 0 || !strings.Contains(rows[0], "exhausted"); rows = next() {
		}
		require.Contains(t, rows[0], `class="step bad"`)
		require.Contains(t, rows[0], "took 1.5 s")
	})
	t.Run("is markup for nothing that a stranger wrote", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		const evil = `"><img src=x onerror=alert(1)><script>alert(2)</script><a href='javascript:alert(3)'>`
		f := console.Fact{ID: evil, Key: evil, Trace: evil}
		s.recorder.Record(f, console.Queue, evil)
		s.recorder.Begin(f, evil)(evil, true, 0)
		row := stream(t, s)()[0]
		fragment, err := html.ParseFragment(strings.NewReader("<table>"+row+"</table>"), nil)
		require.NoError(t, err)
		for _, n := range fragment {
			each(n, func(n *html.Node) {
				require.NotContains(t, []string{"img", "script", "a"}, n.Data)
				for _, a := range n.Attr {
					require.Contains(t, []string{"role", "id", "scope", "class", "datetime", "data-label", "title"}, a.Key)
					require.NotContains(t, a.Val, "alert")
				}
			})
		}
		require.Contains(t, row, "&lt;script&gt;")
	})
	t.Run("is only for those who ask for a stream", func(t *testing.T) {
		t.Parallel()
		status, _, _ := serve(t, open).ask(t, http.MethodGet, "/dev/flow", "")
		require.Equal(t, http.StatusNotAcceptable, status)
	})
}

func TestPromote(t *testing.T) {
	t.Parallel()
	s := serve(t, open)
	status, _, _ := s.ask(t, http.MethodPost, "/dev/promote", `{"email":"an@example.com"}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{"an@example.com"}, s.promoted)
	for _, body := range []string{`{}`, `{"email":""}`, `{"email":1}`, `{"email":"a@b.c","role":"ADMIN"}`} {
		status, _, _ = s.ask(t, http.MethodPost, "/dev/promote", body)
		require.Equal(t, http.StatusBadRequest, status, body)
	}
	status, _, _ = s.ask(t, http.MethodPost, "/dev/promote", `{"email":"nobody@example.com"}`)
	require.Equal(t, http.StatusInternalServerError, status)
}

func TestGuard(t *testing.T) {
	t.Parallel()
	paths := []string{"/", "/dev/flow", "/dev/console/console.js"}
	t.Run("serves a browser on this machine", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		for _, host := range []string{"127.0.0.1:8080", "localhost:8080", "[2001:db8::1]:8080", "192.168.1.7"} {
			for _, header := range [][]string{
				{}, {"Sec-Fetch-Site", "none"}, {"Sec-Fetch-Site", "same-origin"},
				{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
			} {
				status, _, _ := s.ask(t, http.MethodGet, "/", "", append(header, "Host", host)...)
				require.Equal(t, http.StatusOK, status, "%s %q", host, header)
			}
		}
	})
	t.Run("refuses a name that may be a stranger's", func(t *testing.T) {
		t.Parallel()
		s := serve(t, delivery.Guard{Open: true, Hosts: httpserver.Hosts{"dev-box.lan"}})
		for _, path := range paths {
			status, _, _ := s.ask(t, http.MethodGet, path, "", "Host", "evil.test:8080", "Sec-Fetch-Site", "same-origin")
			require.Equal(t, http.StatusForbidden, status, path)
		}
		status, _, _ := s.ask(t, http.MethodPost, "/dev/promote", `{"email":"a@b.c"}`, "Host", "evil.test")
		require.Equal(t, http.StatusForbidden, status)
		require.Empty(t, s.promoted)
		status, _, _ = s.ask(t, http.MethodGet, "/", "", "Host", "dev-box.lan:8080")
		require.Equal(t, http.StatusOK, status)
	})
	t.Run("refuses what a page of another site asks for", func(t *testing.T) {
		t.Parallel()
		s := serve(t, open)
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
		} {
			for _, path := range paths {
				status, _, _ := s.ask(t, http.MethodGet, path, "", header...)
				require.Equal(t, http.StatusForbidden, status, "%s %q", path, header)
			}
		}
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, {"Origin", "http://evil.test"},
		} {
			status, _, _ := s.ask(t, http.MethodPost, "/dev/promote", `{"email":"a@b.c"}`, header...)
			require.Equal(t, http.StatusForbidden, status)
		}
		require.Empty(t, s.promoted)
	})
	t.Run("refuses everyone while other machines are let in unawares", func(t *testing.T) {
		t.Parallel()
		s := serve(t, delivery.Guard{})
		for _, path := range paths {
			status, _, body := s.ask(t, http.MethodGet, path, "", "Host", "127.0.0.1:8080")
			require.Equal(t, http.StatusForbidden, status, path)
			require.Contains(t, body, "STANDALONE_PUBLIC=true")
		}
	})
}
