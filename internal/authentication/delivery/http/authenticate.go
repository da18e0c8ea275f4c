package http

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// TokenChecker is what Authenticate needs of authentication.TokenIssuer.
type TokenChecker interface {
	Check(token string) (authentication.Claims, error)
}

// Authentication is what requests are authenticated with. All fields are required.
type Authentication struct {
	Tokens     TokenChecker
	Identifier authentication.Identifier
	CookieName string
	// Mixed is called for a request with valid tokens of different users: of the one it counts as, and of another.
	Mixed func(ctx context.Context, userID, other string)
}

const callerKey = "authentication.caller"

// caller is who makes a request, as the database knows them.
type caller struct {
	user authentication.User
	// mixed reports whether the request has a valid cookie of another user as well.
	mixed bool
}

// Authenticate sets the request's principal to the user of its first valid token, and refuses a request without one with
// ErrUnauthenticated. Tokens come from the cookies and, after them, from `Authorization: Bearer`: a bad one never hides
// a good one behind it. The user and the role are those of the database now, which is asked once per request.
func Authenticate(a Authentication) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			cookies := a.cookies(r)
			claims := slices.Concat(cookies, a.bearers(r))
			user, err := a.first(r.Context(), claims)
			if err != nil {
				return err
			}
			ofAnother := func(c authentication.Claims) bool { return c.UserID != user.ID }
			if i := slices.IndexFunc(claims, ofAnother); i >= 0 {
				a.Mixed(r.Context(), user.ID, claims[i].UserID)
			}
			c.Set(callerKey, caller{user: user, mixed: slices.ContainsFunc(cookies, ofAnother)})
			httpserver.SetPrincipal(c, httpserver.Principal{Subject: user.ID, Name: user.Email, Role: string(user.Role)})
			return next(c)
		}
	}
}

// first returns the first user whom a token identifies. One look-up is the rule: another is made only when the user of
// a valid token is gone and the next token belongs to another.
func (a Authentication) first(ctx context.Context, claims []authentication.Claims) (authentication.User, error) {
	gone := map[string]bool{}
	for _, c := range claims {
		if gone[c.UserID] {
			continue
		}
		user, err := a.Identifier.Identify(ctx, c)
		if !errors.Is(err, authentication.ErrUnauthenticated) {
			return user, err
		}
		gone[c.UserID] = true
	}
	return authentication.User{}, authentication.ErrUnauthenticated
}

// cookies returns the claims of the valid tokens in cookies, in their order.
func (a Authentication) cookies(r *http.Request) (valid []authentication.Claims) {
	for _, cookie := range r.CookiesNamed(a.CookieName) {
		if claims, err := a.Tokens.Check(cookie.Value); err == nil {
			valid = append(valid, claims)
		}
	}
	return valid
}

// bearers returns the claims of the valid tokens in Authorization.
func (a Authentication) bearers(r *http.Request) (valid []authentication.Claims) {
	for _, header := range r.Header.Values(echo.HeaderAuthorization) {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		if claims, err := a.Tokens.Check(strings.TrimSpace(token)); err == nil {
			valid = append(valid, claims)
		}
	}
	return valid
}

// callerOf returns who makes the request. It returns ErrUnauthenticated on a route without Authenticate.
func callerOf(c echo.Context) (caller, error) {
	found, ok := c.Get(callerKey).(caller)
	if !ok {
		return caller{}, authentication.ErrUnauthenticated
	}
	return found, nil
}
