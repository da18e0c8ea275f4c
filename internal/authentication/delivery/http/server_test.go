package http_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	delivery "github.com/smap-platform/identity/internal/authentication/delivery/http"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var _ delivery.Accounts = (*usecase.UseCase)(nil)

const (
	userID  = "019c1000-0000-7000-8000-000000000001"
	otherID = "019c1000-0000-7000-8000-000000000002"
	goneID  = "019c1000-0000-7000-8000-000000000003"
)

var (
	an      = authentication.User{ID: userID, Email: "an@example.com", FullName: "Nguyễn An", PasswordHash: "hash", Active: true}
	session = authentication.Login{User: an, Token: authentication.Token{Value: "signed", Lifetime: 2 * time.Hour}}
	options = delivery.CookieOptions{
		Name: "smap_auth_token", Domain: "smap.example", Secure: true, SameSite: http.SameSiteLaxMode,
	}
)

// accounts returns what it is given and remembers its arguments.
type accounts struct {
	session authentication.Login
	err     error

	called        string
	credentials   authentication.Credentials
	email, digits string
	client        authentication.Client
	remember      bool
	who           authentication.Identity
	tokens        []authentication.Claims
	id            string

	renew func(c authentication.Claims) (authentication.Login, error) // nil: err
	list  []authentication.Session
}

// browser names the browser of a person who has asked for a code.
var browser = authentication.NewBrowser()

func (a *accounts) Register(
	_ context.Context, c authentication.Credentials, client authentication.Client,
) (string, error) {
	a.called, a.credentials, a.client = "Register", c, client
	return browser, a.err
}

func (a *accounts) SendCode(
	_ context.Context, c authentication.Credentials, client authentication.Client,
) (string, error) {
	a.called, a.credentials, a.client = "SendCode", c, client
	return browser, a.err
}

func (a *accounts) Verify(
	_ context.Context, email, digits string, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.email, a.digits, a.client = "Verify", email, digits, client
	return a.session, a.err
}

func (a *accounts) ForgotPassword(_ context.Context, email string, client authentication.Client) (string, error) {
	a.called, a.email, a.client = "ForgotPassword", email, client
	return browser, a.err
}

func (a *accounts) ResetPassword(
	_ context.Context, email, digits, password string, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.email, a.digits, a.credentials.Password, a.client = "ResetPassword", email, digits, password, client
	return a.session, a.err
}

func (a *accounts) ChangePassword(
	_ context.Context, who authentication.Identity, oldPassword, newPassword string, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.who, a.digits, a.credentials.Password, a.client = "ChangePassword", who, oldPassword, newPassword, client
	return a.session, a.err
}

func (a *accounts) Logout(_ context.Context, tokens []authentication.Claims) error {
	a.called, a.tokens = "Logout", tokens
	return a.err
}

func (a *accounts) Renew(_ context.Context, c authentication.Claims) (authentication.Login, error) {
	a.called, a.tokens = "Renew", append(a.tokens, c)
	if a.renew == nil {
		return authentication.Login{}, cmp.Or(a.err, error(authentication.ErrUnauthenticated))
	}
	return a.renew(c)
}

func (a *accounts) Sessions(_ context.Context, userID string) ([]authentication.Session, error) {
	a.called, a.id = "Sessions", userID
	return a.list, a.err
}

func (a *accounts) EndSession(_ context.Context, userID, id string) error {
	a.called, a.id = "EndSession", userID+" "+id
	return a.err
}

func (a *accounts) EndOtherSessions(
	_ context.Context, who authentication.Identity, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.who, a.client = "EndOtherSessions", who, client
	return a.session, a.err
}

func (a *accounts) Login(
	_ context.Context, c authentication.Credentials, remember bool, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.credentials, a.remember, a.client = "Login", c, remember, client
	return a.session, a.err
}

// tokens knows those of two users, and one of a user who is gone. The session of each is named as its token.
type tokens struct{}

var owners = map[string]string{
	"good": userID, "stale": userID, "expired": userID, "without session": userID, "other": otherID, "gone": goneID,
}

func (t tokens) Check(token string) (authentication.Claims, error) {
	if token == "expired" {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	return t.CheckExpired(token)
}

func (tokens) CheckExpired(token string) (authentication.Claims, error) {
	claims := authentication.Claims{Email: "before@example.com", Role: authentication.RoleUser, ID: "jti", SessionID: token}
	claims.UserID = owners[token]
	if claims.UserID == "" {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	if token == "without session" {
		claims.SessionID = ""
	}
	return claims, nil
}

// people is a database that counts how often it is asked.
type people struct {
	err     error
	role    authentication.Role // empty: ADMIN
	lookups int
	mixed   []string
	failed  []error // logouts
}

func (p *people) Identify(_ context.Context, claims authentication.Claims) (authentication.Identity, error) {
	p.lookups++
	switch {
	case p.err != nil:
		return authentication.Identity{}, p.err
	case claims.UserID == goneID:
		return authentication.Identity{}, authentication.ErrUnauthenticated
	}
	who := authentication.Identity{User: an, Stale: claims.SessionID != "good" && claims.SessionID != "other"}
	who.User.ID, who.User.Role = claims.UserID, cmp.Or(p.role, authentication.RoleAdmin)
	who.Session.ID = claims.SessionID
	return who, nil
}

func (p *people) authentication(o delivery.CookieOptions) delivery.Authentication {
	return delivery.Authentication{
		Tokens:       tokens{},
		Identifier:   p,
		Cookie:       o,
		Mixed:        func(_ context.Context, userID, other string) { p.mixed = append(p.mixed, userID, other) },
		LogoutFailed: func(_ context.Context, err error) { p.failed = append(p.failed, err) },
	}
}

func (p *people) authenticate() echo.MiddlewareFunc {
	return delivery.Authenticate(p.authentication(options))
}

// serve sends r through the whole server.
func serve(a *accounts, r *http.Request) *http.Response { return serveWith(options, a, r) }

func serveWith(o delivery.CookieOptions, a *accounts, r *http.Request) *http.Response {
	return servePeople(&people{}, o, a, r)
}

func servePeople(p *people, o delivery.CookieOptions, a delivery.Accounts, r *http.Request) *http.Response {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	delivery.Register(e.Group(""), a, p.authentication(o))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func withCookie(r *http.Request, token string) *http.Request {
	r.AddCookie(&http.Cookie{Name: options.Name, Value: token})
	return r
}

func requireAnswer(t *testing.T, response *http.Response, status int, want string) {
	t.Helper()
	got, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, status, response.StatusCode, string(got))
	require.JSONEq(t, want, string(got))
}
