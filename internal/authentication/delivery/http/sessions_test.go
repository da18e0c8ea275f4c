package http_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

var errBroken = errors.New("the database is on fire")

// ended returns the sessions that claims stand for.
func ended(claims []authentication.Claims) (ids []string) {
	for _, c := range claims {
		ids = append(ids, c.SessionID)
	}
	return ids
}

func TestLogoutEndsSessions(t *testing.T) {
	t.Parallel()

	t.Run("of every token that came along, expired ones included, each once", func(t *testing.T) {
		t.Parallel()
		r := httptest.NewRequest(http.MethodPost, "/authentication/logout", nil)
		for _, token := range []string{"bad", "expired", "good", "good", "other"} {
			withCookie(r, token)
		}
		r.Header.Set("Authorization", "Bearer stale")
		a := &accounts{}
		requireAnswer(t, serve(a, r), http.StatusOK, success)
		require.Equal(t, []string{"expired", "good", "other", "stale"}, ended(a.tokens))
	})

	t.Run("looks at eight at most", func(t *testing.T) {
		t.Parallel()
		r := httptest.NewRequest(http.MethodPost, "/authentication/logout", nil)
		for range 50 {
			withCookie(r, "without session")
		}
		a := &accounts{}
		serve(a, r)
		require.Len(t, a.tokens, 1)
	})

	t.Run("is a 200 without the cookie, and reported, when that fails", func(t *testing.T) {
		t.Parallel()
		p := &people{}
		r := withCookie(httptest.NewRequest(http.MethodPost, "/authentication/logout", nil), "good")
		response := servePeople(p, options, &accounts{err: errBroken}, r)
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, []string{hostOnlyRemoved, removed}, response.Header["Set-Cookie"])
		require.Equal(t, []error{errBroken}, p.failed)
	})
}

func TestLoginsEndTheOneBefore(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{
		"/authentication/login":          `{"email":"an@example.com","password":"x","device_name":"phone"}`,
		"/authentication/verify-otp":     `{"email":"an@example.com","otp":"123456"}`,
		"/authentication/reset-password": `{"email":"an@example.com","otp":"123456","password":"x"}`,
		"/users/me/change-password":      `{"old_password":"x","new_password":"y"}`,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r := withCookie(withCookie(post(path, body), "good"), "expired")
			r.Header.Set("Authorization", "Bearer stale")
			a := &accounts{session: session}
			require.Equal(t, http.StatusOK, serve(a, r).StatusCode)
			require.Equal(t, []string{"good", "expired"}, ended(a.client.Tokens), "that of a bearer belongs to a program")
		})
	}

	t.Run("keeps what the client calls itself", func(t *testing.T) {
		t.Parallel()
		a := &accounts{session: session}
		serve(a, post("/authentication/login", `{"email":"an@example.com","password":"x","device_name":"phone"}`))
		require.Equal(t, "phone", a.client.Device)
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	const answer = `{"error_code":0,"message":"Success","data":{"id":"` + userID + `","email":"new@example.com","full_name":"Nguyễn An"}}`
	renewed := func(authentication.Claims) (authentication.Login, error) {
		login := session
		login.User.Email = "new@example.com"
		return login, nil
	}
	me := func(tokens ...string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/authentication/me", nil)
		for _, token := range tokens {
			withCookie(r, token)
		}
		return r
	}

	t.Run("replaces a stale cookie", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{renew: renewed}, me("stale"))
		requireAnswer(t, response, http.StatusOK, answer)
		require.Equal(t, []string{hostOnlyRemoved, loginSet}, response.Header["Set-Cookie"])
	})

	t.Run("replaces an expired cookie", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{renew: renewed}, me("bad", "expired"))
		requireAnswer(t, response, http.StatusOK, answer)
		require.Equal(t, []string{hostOnlyRemoved, loginSet}, response.Header["Set-Cookie"])
	})

	t.Run("goes on to the next expired cookie", func(t *testing.T) {
		t.Parallel()
		a := &accounts{renew: func(c authentication.Claims) (authentication.Login, error) {
			if c.SessionID == "gone" {
				return authentication.Login{}, authentication.ErrUnauthenticated
			}
			return renewed(c)
		}}
		requireAnswer(t, serve(a, me("gone", "expired")), http.StatusOK, answer)
	})

	for name, r := range map[string]*http.Request{
		"a fresh cookie":                {},
		"a bearer":                      {Header: http.Header{"Authorization": {"Bearer stale"}}},
		"a cookie without a session":    {},
		"a stale cookie behind a fresh": {},
	} {
		tokens := map[string][]string{
			"a fresh cookie":                {"good"},
			"a cookie without a session":    {"without session"},
			"a stale cookie behind a fresh": {"good", "stale"},
		}[name]
		t.Run("leaves alone "+name, func(t *testing.T) {
			t.Parallel()
			request := me(tokens...)
			for header, values := range r.Header {
				request.Header[header] = values
			}
			a := &accounts{renew: renewed}
			response := serve(a, request)
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.Empty(t, response.Header["Set-Cookie"])
			require.Empty(t, a.called)
		})
	}

	t.Run("refuses an expired bearer", func(t *testing.T) {
		t.Parallel()
		r := me()
		r.Header.Set("Authorization", "Bearer expired")
		a := &accounts{renew: renewed}
		require.Equal(t, http.StatusUnauthorized, serve(a, r).StatusCode)
		require.Empty(t, a.called)
	})

	t.Run("keeps a good cookie when a new one cannot be had", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{err: errBroken}, me("stale"))
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Empty(t, response.Header["Set-Cookie"])
	})

	t.Run("refuses a session that has ended meanwhile", func(t *testing.T) {
		t.Parallel()
		for _, token := range []string{"stale", "expired"} {
			response := serve(&accounts{err: authentication.ErrUnauthenticated}, me(token))
			require.Equal(t, http.StatusUnauthorized, response.StatusCode)
			require.Empty(t, response.Header["Set-Cookie"])
		}
	})

	t.Run("is no other route's business", func(t *testing.T) {
		t.Parallel()
		a := &accounts{renew: renewed}
		r := withCookie(httptest.NewRequest(http.MethodGet, "/authentication/sessions", nil), "expired")
		require.Equal(t, http.StatusUnauthorized, serve(a, r).StatusCode)
		require.Empty(t, a.called)
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()

	t.Run("are listed", func(t *testing.T) {
		t.Parallel()
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		a := &accounts{list: []authentication.Session{
			{ID: "good", UserAgent: "Firefox", IP: "203.0.113.7", CreatedAt: at, LastSeenAt: at.Add(time.Hour), ExpiresAt: at.Add(2 * time.Hour)},
			{ID: "another", Device: "phone", CreatedAt: at, LastSeenAt: at, ExpiresAt: at},
		}}
		response := serve(a, withCookie(httptest.NewRequest(http.MethodGet, "/authentication/sessions", nil), "good"))
		requireAnswer(t, response, http.StatusOK, `{"error_code":0,"message":"Success","data":{"sessions":[
			{"id":"good","current":true,"ip_address":"203.0.113.7","user_agent":"Firefox","created_at":"2026-01-02T03:04:05Z",
				"last_seen_at":"2026-01-02T04:04:05Z","expires_at":"2026-01-02T05:04:05Z"},
			{"id":"another","current":false,"device_name":"phone","ip_address":"","user_agent":"","created_at":"2026-01-02T03:04:05Z",
				"last_seen_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-02T03:04:05Z"}]}}`)
		require.Equal(t, userID, a.id)
	})

	end := func(path, token string) *http.Request {
		return withCookie(httptest.NewRequest(http.MethodDelete, "/authentication/sessions"+path, nil), token)
	}

	t.Run("are ended one by one", func(t *testing.T) {
		t.Parallel()
		a := &accounts{}
		response := serve(a, end("/another", "good"))
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, userID+" another", a.id)
		require.Empty(t, response.Header["Set-Cookie"])

		response = serve(&accounts{}, end("/GOOD", "good"))
		require.Equal(t, []string{hostOnlyRemoved, removed}, response.Header["Set-Cookie"], "the present one")

		response = serve(&accounts{err: authentication.ErrSessionNotFound}, end("/another", "good"))
		require.Equal(t, http.StatusNotFound, response.StatusCode)
	})

	t.Run("are ended but for the present one", func(t *testing.T) {
		t.Parallel()
		a := &accounts{}
		response := serve(a, end("", "good"))
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, "EndOtherSessions", a.called)
		require.Equal(t, "good", a.who.Session.ID)
		require.Empty(t, response.Header["Set-Cookie"])

		response = serve(&accounts{session: session}, end("", "without session"))
		require.Equal(t, []string{hostOnlyRemoved, loginSet}, response.Header["Set-Cookie"], "one that opens in its place")
	})
}

func TestStill(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		later error
		want  bool
	}{
		"is still logged in":                            {want: true},
		"may go on while the database is away":          {later: errBroken, want: true},
		"has logged out, or was deleted, or was locked": {later: authentication.ErrUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &people{}
			a := p.authentication(options)
			c := echo.New().NewContext(withCookie(httptest.NewRequest(http.MethodGet, "/", nil), "good"), httptest.NewRecorder())
			err := p.authenticate()(func(c echo.Context) error {
				p.err = tc.later
				require.Equal(t, tc.want, a.Still(t.Context(), c))
				return nil
			})(c)
			require.NoError(t, err)
		})
	}

	t.Run("has another role", func(t *testing.T) {
		t.Parallel()
		p := &people{}
		a := p.authentication(options)
		c := echo.New().NewContext(withCookie(httptest.NewRequest(http.MethodGet, "/", nil), "good"), httptest.NewRecorder())
		require.NoError(t, p.authenticate()(func(c echo.Context) error {
			p.role = authentication.RoleUser
			require.False(t, a.Still(t.Context(), c), "demoted")
			return nil
		})(c))
		require.False(t, a.Still(t.Context(), echo.New().NewContext(c.Request(), httptest.NewRecorder())), "nobody was identified")
	})
}
