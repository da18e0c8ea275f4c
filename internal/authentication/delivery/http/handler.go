// Package http serves registration, verification, login and the present user (docs/compatibility.md), and authenticates
// the requests of other routes. It judges the shape of a request; the rules are the use cases'.
//
// It never logs a body. It does not limit how often a client may call: the resend rule and the bounded hashing pool are
// behind it, and limits per client belong in front of it, at the edge.
package http

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Accounts are the use cases behind the routes.
type Accounts interface {
	Register(ctx context.Context, c authentication.Credentials, locale string) error
	SendCode(ctx context.Context, c authentication.Credentials, locale string) error
	Verify(ctx context.Context, email, digits string) (authentication.Login, error)
	Login(ctx context.Context, c authentication.Credentials, remember bool) (authentication.Login, error)
}

type handler struct {
	accounts Accounts
	cookie   CookieOptions
}

// Register puts the routes below /authentication on g. authenticated must set the principal or refuse the request; see
// [Authenticate].
func Register(g *echo.Group, a Accounts, o CookieOptions, authenticated echo.MiddlewareFunc) {
	h := handler{a, o}
	g.POST("/authentication/register", h.mailCode(http.StatusCreated, a.Register))
	g.POST("/authentication/send-otp", h.mailCode(http.StatusOK, a.SendCode))
	g.POST("/authentication/verify-otp", h.verifyOTP)
	g.POST("/authentication/login", h.login)
	g.POST("/authentication/logout", h.logout)
	g.GET("/authentication/me", h.me, authenticated)
}

// mailCode returns the handler of a verb that has a code mailed to the user of these credentials.
func (h handler) mailCode(
	status int, verb func(ctx context.Context, c authentication.Credentials, locale string) error,
) echo.HandlerFunc {
	return func(c echo.Context) error {
		var r credentialsRequest
		if err := read(c, &r); err != nil {
			return err
		}
		err := verb(c.Request().Context(), authentication.Credentials(r), httpserver.Locale(c.Request()))
		if err != nil {
			return err
		}
		return httpserver.Success(c, status, nil)
	}
}

// verifyOTP also logs in: the front end goes straight to its home page.
func (h handler) verifyOTP(c echo.Context) error {
	var r verifyRequest
	if err := read(c, &r); err != nil {
		return err
	}
	session, err := h.accounts.Verify(c.Request().Context(), r.Email, r.digits())
	if err != nil {
		return err
	}
	h.cookie.SetLogin(c, session.Token.Value, session.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, nil)
}

func (h handler) login(c echo.Context) error {
	var r loginRequest
	if err := read(c, &r); err != nil {
		return err
	}
	credentials := authentication.Credentials(r.credentialsRequest)
	session, err := h.accounts.Login(c.Request().Context(), credentials, r.Remember)
	if err != nil {
		return err
	}
	h.cookie.SetLogin(c, session.Token.Value, session.Token.Lifetime)
	return httpserver.Success(c, http.StatusOK, loginResponse{present(session.User)})
}

// logout removes the cookie, whatever the token in it is worth: no state of a browser is one that cannot be left. The
// token lives on until it expires: nothing is stored about tokens.
func (h handler) logout(c echo.Context) error {
	h.cookie.clear(c)
	return httpserver.Success(c, http.StatusOK, nil)
}

// me also removes a second cookie with the login of another user, which would count once the first has expired.
func (h handler) me(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	if caller.mixed {
		h.cookie.clearHostOnly(c)
	}
	return httpserver.Success(c, http.StatusOK, present(caller.user))
}
