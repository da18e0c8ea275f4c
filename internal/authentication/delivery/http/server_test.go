package http_test

import (
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
	_ context.Context, user authentication.User, oldPassword, newPassword string, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.email, a.digits, a.credentials.Password, a.client = "ChangePassword", user.Email, oldPassword, newPassword, client
	return a.session, a.err
}

func (a *accounts) Login(
	_ context.Context, c authentication.Credentials, remember bool, client authentication.Client,
) (authentication.Login, error) {
	a.called, a.credentials, a.remember, a.client = "Login", c, remember, client
	return a.session, a.err
}

// tokens knows those of two users, and one of a user who is gone.
type tokens struct{}

func (tokens) Check(token string) (authentication.Claims, error) {
	claims := authentication.Claims{Email: "before@example.com", Role: authentication.RoleUser}
	switch token {
	case "good":
		claims.UserID = userID
	case "other":
		claims.UserID = otherID
	case "gone":
		claims.UserID = goneID
	default:
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	return claims, nil
}

// people is a database that counts how often it is asked.
type people struct {
	err     error
	lookups int
	mixed   []string
}

func (p *people) Identify(_ context.Context, claims authentication.Claims) (authentication.User, error) {
	p.lookups++
	switch {
	case p.err != nil:
		return authentication.User{}, p.err
	case claims.UserID == goneID:
		return authentication.User{}, authentication.ErrUnauthenticated
	}
	user := an
	user.ID, user.Role = claims.UserID, authentication.RoleAdmin
	return user, nil
}

func (p *people) authenticate() echo.MiddlewareFunc {
	return delivery.Authenticate(delivery.Authentication{
		Tokens:     tokens{},
		Identifier: p,
		CookieName: options.Name,
		Mixed:      func(_ context.Context, userID, other string) { p.mixed = append(p.mixed, userID, other) },
	})
}

// serve sends r through the whole server.
func serve(a *accounts, r *http.Request) *http.Response { return serveWith(options, a, r) }

func serveWith(o delivery.CookieOptions, a *accounts, r *http.Request) *http.Response {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	delivery.Register(e.Group(""), a, o, (&people{}).authenticate())
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
