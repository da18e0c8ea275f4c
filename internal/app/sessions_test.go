package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
)

// device is a client that shows the cookies it is told to.
type device struct {
	*program
	*testing.T
}

// send returns the status, the data, and the login cookie that the response sets; "" when it sets none.
func (d device) send(method, path, cookie string, body any) (status int, data json.RawMessage, set string) {
	d.Helper()
	var raw []byte
	if body != nil {
		var err error
		raw, err = json.Marshal(body)
		require.NoError(d, err)
	}
	request, err := http.NewRequestWithContext(d.Context(), method, d.APIURL()+path, bytes.NewReader(raw))
	require.NoError(d, err)
	request.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		request.AddCookie(&http.Cookie{Name: d.cfg.Cookie.Name, Value: cookie})
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	require.NoError(d, err)
	defer response.Body.Close()
	d.contract.Check(d.T, request, raw, response)
	content, err := io.ReadAll(response.Body)
	require.NoError(d, err)
	var envelope struct{ Data json.RawMessage }
	require.NoError(d, json.Unmarshal(content, &envelope), string(content))
	for _, c := range response.Cookies() {
		if c.Name == d.cfg.Cookie.Name {
			set = c.Value
		}
	}
	return response.StatusCode, envelope.Data, set
}

// me returns the status and the new cookie, if any.
func (d device) me(cookie string) (status int, set string) {
	d.Helper()
	status, _, set = d.send(http.MethodGet, "/authentication/me", cookie, nil)
	return status, set
}

// login returns a cookie.
func (d device) login(email, password string, remember bool) string {
	d.Helper()
	status, _, cookie := d.send(http.MethodPost, "/authentication/login", "",
		fields{"email": email, "password": password, "remember": remember, "device_name": "phone"})
	require.Equal(d, http.StatusOK, status)
	require.NotEmpty(d, cookie)
	return cookie
}

func TestSessions(t *testing.T) {
	const email, password = "an.sessions@example.com", "a long enough one"
	p := start(t, t.TempDir())
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": password})
	mails, err := p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text)})
	on := func(t *testing.T) device { return device{p, t} }

	t.Run("live for 30 days by tokens of 24 hours", func(t *testing.T) {
		d := on(t)
		first := d.login(email, password, true)
		p.clock.Advance(11 * time.Hour)
		status, set := d.me(first)
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, set, "a young token is not replaced")
		p.clock.Advance(2 * time.Hour)
		status, second := d.me(first)
		require.Equal(t, http.StatusOK, status)
		require.NotEmpty(t, second)
		status, set = d.me(second)
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, set)

		status, _ = d.me(first)
		require.Equal(t, http.StatusOK, status, "a second tab may still have it")
		p.clock.Advance(12 * time.Hour)
		status, _, _ = d.send(http.MethodGet, "/users/me", first, nil)
		require.Equal(t, http.StatusUnauthorized, status)
		status, set = d.me(first)
		require.Equal(t, http.StatusUnauthorized, status, "expired, and older than one that was presented")
		require.Empty(t, set)
		status, _ = d.me(first)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM audit_entries WHERE action = 'token.reused'"), "once")
		_, metrics := p.request(t, http.MethodGet, "/metrics", nil)
		require.Contains(t, string(metrics), "\ntokens_reused_total 2\n")
		require.Contains(t, p.logs.String(), "a newer one")

		p.clock.Advance(20 * 24 * time.Hour)
		status, third := d.me(second)
		require.Equal(t, http.StatusOK, status, "the browser was closed for weeks")
		require.NotEmpty(t, third)
		p.clock.Advance(10 * 24 * time.Hour)
		status, _ = d.me(third)
		require.Equal(t, http.StatusUnauthorized, status, "30 days after the login")
	})

	t.Run("end two hours after their last use, and after a day", func(t *testing.T) {
		d := on(t)
		idle, busy := d.login(email, password, false), d.login(email, password, false)
		for range 15 {
			p.clock.Advance(90 * time.Minute)
			status, set := d.me(busy)
			require.Equal(t, http.StatusOK, status)
			busy = set
		}
		status, _ := d.me(idle)
		require.Equal(t, http.StatusUnauthorized, status)
		p.clock.Advance(90 * time.Minute) // 24 hours since the login
		status, _ = d.me(busy)
		require.Equal(t, http.StatusUnauthorized, status)
	})

	t.Run("are seen and ended by their owner alone", func(t *testing.T) {
		d := on(t)
		mine, another := d.login(email, password, true), d.login(email, password, false)
		list := func() (sessions []struct {
			ID         string
			Current    bool
			DeviceName string `json:"device_name"`
		}) {
			_, data, _ := d.send(http.MethodGet, "/authentication/sessions", mine, nil)
			var listed struct{ Sessions json.RawMessage }
			require.NoError(t, json.Unmarshal(data, &listed))
			require.NoError(t, json.Unmarshal(listed.Sessions, &sessions))
			return sessions
		}
		sessions := list()
		require.Len(t, sessions, 2)
		var elsewhere string
		for _, s := range sessions {
			require.Equal(t, "phone", s.DeviceName)
			if !s.Current {
				elsewhere = s.ID
			}
		}
		stranger := p.stranger(t)
		status, _, _ := d.send(http.MethodDelete, "/authentication/sessions/"+elsewhere, stranger, nil)
		require.Equal(t, http.StatusNotFound, status)
		status, _, _ = d.send(http.MethodDelete, "/authentication/sessions", stranger, nil)
		require.Equal(t, http.StatusOK, status)
		require.Len(t, list(), 2)

		status, _, _ = d.send(http.MethodDelete, "/authentication/sessions/"+elsewhere, mine, nil)
		require.Equal(t, http.StatusOK, status)
		status, _ = d.me(another)
		require.Equal(t, http.StatusUnauthorized, status)
		another = d.login(email, password, false)
		status, _, _ = d.send(http.MethodDelete, "/authentication/sessions", mine, nil)
		require.Equal(t, http.StatusOK, status)
		status, _ = d.me(another)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Len(t, list(), 1)
	})

	t.Run("end at the logout, at the next login of their browser, and with the password", func(t *testing.T) {
		d := on(t)
		cookie := d.login(email, password, true)
		status, _, _ := d.send(http.MethodPost, "/authentication/logout", cookie, nil)
		require.Equal(t, http.StatusOK, status)
		status, _ = d.me(cookie)
		require.Equal(t, http.StatusUnauthorized, status)

		cookie = d.login(email, password, true)
		status, _, next := d.send(http.MethodPost, "/authentication/login", cookie, fields{"email": email, "password": password})
		require.Equal(t, http.StatusOK, status)
		status, _ = d.me(cookie)
		require.Equal(t, http.StatusUnauthorized, status)

		status, _, changed := d.send(http.MethodPost, "/users/me/change-password", next,
			fields{"old_password": password, "new_password": "another long one"})
		require.Equal(t, http.StatusOK, status)
		status, _ = d.me(next)
		require.Equal(t, http.StatusUnauthorized, status, "also a token of the same second")
		status, _ = d.me(changed)
		require.Equal(t, http.StatusOK, status)
	})
}

// stranger returns the cookie of another person.
func (p *program) stranger(t *testing.T) string {
	t.Helper()
	user := authentication.User{
		ID: "019c1000-0000-7000-8000-0000000000aa", Email: "stranger@example.com", Role: authentication.RoleUser, Active: true,
		CreatedAt: p.clock.Now(), UpdatedAt: p.clock.Now(),
	}
	require.NoError(t, authsql.NewUsers(p.db).Create(t.Context(), user))
	return p.tokenOf(t, user)
}
