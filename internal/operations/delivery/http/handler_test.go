package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const token = "a token of 128 bits, or so"

// site is a console on a server of its own, and a browser that keeps what it sets.
type site struct {
	*httptest.Server
	now     time.Time
	facts   status.Facts
	handler *handler
	log     strings.Builder
	cookies map[string]string

	history   *operations.History
	counters  operations.Counters
	processes []operations.Process
	migration operations.Migration
	failure   error // of what is asked for
	next      time.Time
}

// Processes implements [operations.Processes].
func (s *site) Processes(context.Context) ([]operations.Process, error) {
	return s.processes, s.failure
}

// NextDue implements [operations.Scheduler].
func (s *site) NextDue(context.Context, time.Time) (time.Time, bool, error) {
	return s.next, !s.next.IsZero(), s.failure
}

// Migration implements [operations.Migrations].
func (s *site) Migration(context.Context) (operations.Migration, error) {
	return s.migration, s.failure
}

var evening = time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)

// well are the facts of a service with which nothing is wrong.
func well() status.Facts {
	healthy := status.Dependency{Status: status.Healthy}
	return status.Facts{At: evening, Roles: []string{"consumer"}, Database: healthy, RabbitMQ: healthy, Redis: healthy,
		Processes: []status.Group{{Role: "consumer", Version: "v1", Count: 2, Since: evening.Add(-time.Hour)}}}
}

func serve(t *testing.T, access Access, more ...func(*Options)) *site {
	t.Helper()
	s := &site{now: evening, facts: well(), cookies: map[string]string{}}
	o := Options{
		Access: access, Version: "v1<2>", Now: func() time.Time { return s.now }, Log: zerolog.New(&s.log),
		Facts: func(context.Context) status.Facts { return s.facts },
		Desk:  newDesk(&letters{}),
	}
	s.history = operations.NewHistory(o.Facts, func() operations.Counters { return s.counters }, o.Now)
	o.History, o.Processes, o.Scheduler, o.Migrations = s.history, s, s, s
	withSections(&sections{})(&o)
	for _, change := range more {
		change(&o)
	}
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), Timeout: time.Second, Routes: Limits()})
	s.handler = register(e, o)
	s.Server = httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s
}

type answer struct {
	*http.Response
	body string
}

// ask makes a request as the browser does. header are pairs, of which Host is the request's own.
func (s *site) ask(t *testing.T, method, path string, form url.Values, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range s.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
		if pair[0] == "Host" {
			r.Host = pair[1]
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	for _, c := range response.Cookies() {
		s.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(s.cookies, c.Name)
		}
	}
	return answer{response, string(body)}
}

func (s *site) get(t *testing.T, path string, header ...string) answer {
	t.Helper()
	return s.ask(t, http.MethodGet, path, nil, header...)
}

func (s *site) login(t *testing.T) {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, s.ask(t, http.MethodPost, "/login", url.Values{"token": {token}}).StatusCode)
}

// formKey is what the forms of this login carry.
func (s *site) formKey() string {
	for name, value := range s.cookies {
		if strings.Contains(name, "_session") {
			session, _ := s.handler.access.open("session", value)
			return s.handler.access.formKey(session)
		}
	}
	return s.handler.access.formKey("")
}

func TestAccess(t *testing.T) {
	t.Parallel()
	t.Run("takes the token once, and keeps something else", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{Token: token})
		r := s.get(t, "/status?x=1")
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		require.Equal(t, "/login?next=%2Fstatus%3Fx%3D1", r.Header.Get("Location"))
		require.Contains(t, s.get(t, "/login?next=/status").body, `name="token"`)

		r = s.ask(t, http.MethodPost, "/login", url.Values{"token": {token + "x"}})
		require.Equal(t, http.StatusUnauthorized, r.StatusCode)
		require.Contains(t, r.body, "not the token")
		require.Empty(t, s.cookies)

		r = s.ask(t, http.MethodPost, "/login", url.Values{"token": {token}, "next": {"/status?x=1"}})
		require.Equal(t, "/status?x=1", r.Header.Get("Location"))
		kept := r.Cookies()[0]
		require.True(t, kept.HttpOnly)
		require.Equal(t, http.SameSiteStrictMode, kept.SameSite)
		require.NotContains(t, kept.Value, token)
		require.Equal(t, http.StatusOK, s.get(t, "/status").StatusCode)
		require.NotContains(t, s.log.String(), token)

		require.Equal(t, "/login", s.ask(t, http.MethodPost, "/logout", url.Values{}).Header.Get("Location"))
		require.Equal(t, http.StatusSeeOther, s.get(t, "/status").StatusCode)
	})
	t.Run("a login ends by itself, and with another token", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{Token: token})
		s.login(t)
		other := serve(t, Access{Token: token}) // another consumer
		other.cookies = map[string]string{strings.Replace(name(s), port(s), port(other), 1): s.cookies[name(s)]}
		require.Equal(t, http.StatusOK, other.get(t, "/status").StatusCode)
		changed := serve(t, Access{Token: token + "2"})
		changed.cookies = map[string]string{strings.Replace(name(s), port(s), port(changed), 1): s.cookies[name(s)]}
		require.Equal(t, http.StatusSeeOther, changed.get(t, "/status").StatusCode)
		s.now = s.now.Add(12 * time.Hour)
		require.Equal(t, http.StatusSeeOther, s.get(t, "/status").StatusCode)
	})
	t.Run("takes no login that was made up", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{Token: token})
		for _, value := range []string{"", ".", "99999999999-x.", "99999999999-x.AAAA", "a.b.c"} {
			s.cookies["identity_console_session"+port(s)] = value
			require.Equal(t, http.StatusSeeOther, s.get(t, "/status").StatusCode, value)
		}
	})
	t.Run("limits tries", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{Token: token})
		for range loginsPerMinute {
			require.Equal(t, http.StatusUnauthorized, s.ask(t, http.MethodPost, "/login", url.Values{"token": {"x"}}).StatusCode)
		}
		require.Equal(t, http.StatusTooManyRequests, s.ask(t, http.MethodPost, "/login", url.Values{"token": {token}}).StatusCode)
	})
	t.Run("has cookies of this host alone off loopback, and takes no token in clear", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{Token: token, Hosts: httpserver.Hosts{"console.example"}})
		form := url.Values{"token": {token}}
		r := s.ask(t, http.MethodPost, "/login", form, "Host", "console.example")
		require.Equal(t, http.StatusForbidden, r.StatusCode)
		require.Contains(t, r.body, "in clear")
		require.NotContains(t, s.get(t, "/login", "Host", "10.1.2.3:8090").body, `name="token"`)
		r = s.ask(t, http.MethodPost, "/login", form, "Host", "console.example", "X-Forwarded-Proto", "https")
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		kept := r.Cookies()[0]
		require.Equal(t, "__Host-identity_console_session", kept.Name)
		require.True(t, kept.Secure)
		require.Equal(t, "/", kept.Path)
		require.Empty(t, kept.Domain)
	})
	t.Run("is open on loopback without a token", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{})
		require.Equal(t, http.StatusOK, s.get(t, "/status").StatusCode)
		require.Equal(t, "/status", s.get(t, "/login").Header.Get("Location"))
		require.Equal(t, http.StatusUnauthorized, s.ask(t, http.MethodPost, "/login", url.Values{"token": {""}}).StatusCode)
	})
	t.Run("refuses names of strangers, and pages of other sites", func(t *testing.T) {
		t.Parallel()
		s := serve(t, Access{})
		for _, header := range [][]string{
			{"Host", "evil.example"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
			{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
		} {
			r := s.get(t, "/status", header...)
			require.Equal(t, http.StatusForbidden, r.StatusCode, header)
			require.NotContains(t, r.body, "<")
		}
		link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
		require.Equal(t, http.StatusOK, s.get(t, "/status", link...).StatusCode)
		for _, header := range [][]string{link, {"Origin", "http://127.0.0.1:1"}, {"Origin", "null"}} {
			require.Equal(t, http.StatusForbidden, s.ask(t, http.MethodPost, "/logout", url.Values{}, header...).StatusCode, header)
		}
	})
	t.Run("leads to its own pages only", func(t *testing.T) {
		t.Parallel()
		for path, own := range map[string]bool{
			"/status": true, "/a/b?c=d%2F%2Fe": true, "": false, "status": false, "//evil.example": false, `/\evil.example`: false,
			"https://evil.example/": false, "/\tevil": false, "javascript:alert(1)": false,
		} {
			require.Equal(t, own, isOwnPath(path), path)
		}
	})
}

func port(s *site) string { return s.URL[strings.LastIndexByte(s.URL, ':')+1:] }
func name(s *site) string { return "identity_console_session" + port(s) }

func TestPages(t *testing.T) {
	t.Parallel()
	s := serve(t, Access{Token: token})
	s.login(t)
	t.Run("bring nothing from elsewhere, and no script or style of their own", func(t *testing.T) {
		for _, r := range s.handler.routes() {
			if r.method != http.MethodGet || r.path == liveRoute || strings.Contains(r.path, ":") {
				continue
			}
			page := s.get(t, r.path)
			require.Equal(t, http.StatusOK, page.StatusCode, r.path)
			require.NotRegexp(t, `<style|<script>|\son\w+=|\sstyle=|javascript:|(src|href|action)="https?:`, page.body)
			require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self';")
			require.NotContains(t, page.Header.Get("Content-Security-Policy"), "unsafe")
			require.Contains(t, page.body, "v1&lt;2&gt;")
			require.Len(t, regexp.MustCompile(`aria-current="page"`).FindAllString(page.body, -1), 1, r.path)
		}
		for _, asset := range []string{"operations.css", "operations.js", "icon.svg"} {
			require.Equal(t, http.StatusOK, s.get(t, "/assets/"+asset).StatusCode)
		}
	})
	t.Run("say that there is none", func(t *testing.T) {
		r := s.get(t, "/nothing")
		require.Equal(t, http.StatusNotFound, r.StatusCode)
		require.Contains(t, r.body, "There is no such page.")
	})
}

func TestChange(t *testing.T) {
	t.Parallel()
	// made returns a site on which /try does what do says.
	made := func(t *testing.T, access Access, do func(ctx context.Context, c echo.Context, by string) (string, error)) *site {
		s := serve(t, access)
		e := s.Config.Handler.(*echo.Echo)
		e.POST("/try", s.handler.change("try", do), s.handler.entered)
		if access.Token != "" {
			s.login(t)
		}
		return s
	}
	t.Run("is done in the operator's name, and says what became of it once", func(t *testing.T) {
		t.Parallel()
		s := made(t, Access{Token: token}, func(ctx context.Context, _ echo.Context, by string) (string, error) {
			require.Equal(t, "Thảo <b>", by)
			require.Equal(t, "Thảo <b>", audit.OriginOf(ctx).Operator)
			return "Done & <done>.", nil
		})
		r := s.ask(t, http.MethodPost, "/try", url.Values{"form": {s.formKey()}, "by": {" Thảo <b> "}, "back": {"/status?a=b"}})
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		require.Equal(t, "/status?a=b", r.Header.Get("Location"))
		require.NotContains(t, s.get(t, "/status", "X-Live", "1").body, "Done")
		require.Contains(t, s.get(t, "/status").body, "Done &amp; &lt;done&gt;.")
		require.NotContains(t, s.get(t, "/status").body, "Done")
	})
	t.Run("needs a name, the form, and leave to change", func(t *testing.T) {
		t.Parallel()
		never := func(context.Context, echo.Context, string) (string, error) { return "", errors.New("it was called") }
		s := made(t, Access{Token: token}, never)
		for _, by := range []string{"", "  ", strings.Repeat("x", 101), "a\nb", "\xff"} {
			r := s.ask(t, http.MethodPost, "/try", url.Values{"form": {s.formKey()}, "by": {by}, "back": {"//evil.example"}})
			require.Equal(t, "/status", r.Header.Get("Location"), by)
			require.Contains(t, s.get(t, "/status").body, "Say who you are", by)
		}
		require.Equal(t, http.StatusForbidden, s.ask(t, http.MethodPost, "/try", url.Values{"by": {"an"}}).StatusCode)
		s.cookies = map[string]string{}
		require.Equal(t, http.StatusUnauthorized, s.ask(t, http.MethodPost, "/try", url.Values{"by": {"an"}}).StatusCode)
		s = made(t, Access{ReadOnly: true}, never)
		r := s.ask(t, http.MethodPost, "/try", url.Values{"form": {s.formKey()}, "by": {"an"}})
		require.Equal(t, http.StatusForbidden, r.StatusCode)
		require.Contains(t, r.body, "CONSOLE_READONLY")
		require.Contains(t, r.body, "read-only")
	})
	t.Run("shows why it was not done", func(t *testing.T) {
		t.Parallel()
		for _, err := range []error{
			errors.New("the broker is <gone>"), echo.NewHTTPError(http.StatusConflict, "the broker is <gone>"),
			apperror.New(apperror.Invalid, 1, "the broker is <gone>"),
		} {
			s := made(t, Access{}, func(context.Context, echo.Context, string) (string, error) { return "", err })
			s.ask(t, http.MethodPost, "/try", url.Values{"form": {s.formKey()}, "by": {"an"}})
			require.Contains(t, s.get(t, "/status").body, "Not done: the broker is &lt;gone&gt;")
		}
	})
}

func TestLive(t *testing.T) {
	t.Parallel()
	s := serve(t, Access{})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var open []*http.Response
	for range streams {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+liveRoute, nil)
		require.NoError(t, err)
		response, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		open = append(open, response)
	}
	require.Equal(t, http.StatusServiceUnavailable, s.get(t, liveRoute).StatusCode, "they are bounded")
	for _, response := range open {
		require.NoError(t, response.Body.Close())
	}
}
