// Package http serves registration, verification, login and the present user (docs/compatibility.md), and authenticates
// the requests of other routes. It judges the shape of a request; the rules are the use cases'.
//
// It never logs a body. It limits how often a client may call in one process; what is limited per address, in all of them,
// is the use cases'.
package http

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Accounts are the use cases behind the routes.
type Accounts interface {
	Register(ctx context.Context, c authentication.Credentials, client authentication.Client) (browser string, err error)
	SendCode(ctx context.Context, c authentication.Credentials, client authentication.Client) (browser string, err error)
	Verify(ctx context.Context, email, digits string, client authentication.Client) (authentication.Login, error)
	ForgotPassword(ctx context.Context, email string, client authentication.Client) (browser string, err error)
	ResetPassword(
		ctx context.Context, email, digits, password string, client authentication.Client,
	) (authentication.Login, error)
	ChangePassword(
		ctx context.Context, who authentication.Identity, oldPassword, newPassword string, client authentication.Client,
	) (authentication.Login, error)
	Login(
		ctx context.Context, c authentication.Credentials, remember bool, client authentication.Client,
	) (authentication.Login, error)
	Logout(ctx context.Context, tokens []authentication.Claims) error
	Renew(ctx context.Context, c authentication.Claims) (authentication.Login, error)
	Sessions(ctx context.Context, userID string) ([]authentication.Session, error)
	EndSession(ctx context.Context, userID, id string) error
	EndOtherSessions(
		ctx context.Context, who authentication.Identity, client authentication.Client,
	) (authentication.Login, error)
}

// forgotTime is how long it takes to say that a code is on its way: longer than it takes to find out whether one is, with
// and without a mail, so that it tells nobody.
const forgotTime = 150 * time.Millisecond

type handler struct {
	accounts Accounts
	auth     Authentication
}

// Register puts the routes below /authentication on g, and that of changing a password.
func Register(g *echo.Group, a Accounts, auth Authentication) {
	h := handler{a, auth}
	authenticated := Authenticate(auth)
	g.POST("/authentication/register", h.mailCode(http.StatusCreated, a.Register), httpserver.PerMinute(10))
	g.POST("/authentication/send-otp", h.mailCode(http.StatusOK, a.SendCode), httpserver.PerMinute(10))
	g.POST("/authentication/verify-otp", h.verifyOTP, httpserver.PerMinute(30))
	g.POST("/authentication/login", h.login, httpserver.PerMinute(60))
	g.POST("/authentication/logout", h.logout)
	g.POST("/authentication/forgot-password", h.forgotPassword, httpserver.PerMinute(10), httpserver.NotBefore(forgotTime))
	g.POST("/authentication/reset-password", h.resetPassword, httpserver.PerMinute(30))
	g.POST("/users/me/change-password", h.changePassword, authenticated)
	g.GET("/authentication/me", h.me) // authenticates by itself: it takes an expired cookie as well
	g.GET("/authentication/sessions", h.sessions, authenticated)
	g.DELETE("/authentication/sessions", h.endOtherSessions, authenticated)
	g.DELETE("/authentication/sessions/:id", h.endSession, authenticated)
}

// mailCode returns the handler of a verb that has a code mailed for these credentials, which this browser can spend.
func (h handler) mailCode(
	status int,
	verb func(ctx context.Context, c authentication.Credentials, client authentication.Client) (string, error),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		var r credentialsRequest
		if err := read(c, &r); err != nil {
			return err
		}
		browser, err := verb(c.Request().Context(), authentication.Credentials(r), h.auth.Client(c))
		if err != nil {
			return err
		}
		h.auth.Cookie.setBrowser(c, browser)
		return httpserver.Success(c, status, registrationResponse{browser})
	}
}

// verifyOTP also logs in: the front end goes straight to its home page.
func (h handler) verifyOTP(c echo.Context) error {
	var r verifyRequest
	if err := read(c, &r); err != nil {
		return err
	}
	digits, _ := authentication.ParseDigits(r.OTP) // read has judged it
	session, err := h.accounts.Verify(c.Request().Context(), r.Email, digits, h.auth.Client(c, r.Registration))
	if err != nil {
		return err
	}
	h.auth.Cookie.SetLogin(c, session.Token.Value, session.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, nil)
}

func (h handler) login(c echo.Context) error {
	var r loginRequest
	if err := read(c, &r); err != nil {
		return err
	}
	credentials := authentication.Credentials(r.credentialsRequest)
	client := h.auth.Client(c)
	client.Device = r.DeviceName
	session, err := h.accounts.Login(c.Request().Context(), credentials, r.Remember, client)
	if err != nil {
		return err
	}
	h.auth.Cookie.SetLogin(c, session.Token.Value, session.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, loginResponse{present(session.User)})
}
