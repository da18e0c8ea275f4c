package http

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// TokenChecker is what Authenticate needs of authentication.TokenIssuer.
type TokenChecker interface {
	Check(token string) (authentication.Claims, error)
}

// Authenticate sets the request's principal from the token in the cookie or, when there is none, in
// `Authorization: Bearer`, and refuses every other request with ErrUnauthenticated. It believes the token without asking
// the database: a route that must know whether the user still exists, or still has the role, looks for itself.
func Authenticate(tokens TokenChecker, cookieName string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			claims, err := tokens.Check(tokenOf(c.Request(), cookieName))
			if err != nil {
				return err
			}
			httpserver.SetPrincipal(c, httpserver.Principal{
				Subject: claims.UserID, Name: claims.Email, Role: string(claims.Role),
			})
			return next(c)
		}
	}
}

func tokenOf(r *http.Request, cookieName string) string {
	if cookie, err := r.Cookie(cookieName); err == nil && cookie.Value != "" {
		return cookie.Value
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
