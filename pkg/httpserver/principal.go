package httpserver

import "github.com/labstack/echo/v4"

const principalKey = "principal"

// Principal is the caller of a request, once a middleware has proven it, as the database knows them now.
type Principal struct {
	Subject string // the user's id
	Name    string
	Role    string
}

// Admin reports whether p is an administrator.
func (p Principal) Admin() bool { return p.Role == "ADMIN" }

// SetPrincipal records the caller of the request.
func SetPrincipal(c echo.Context, p Principal) { c.Set(principalKey, p) }

// PrincipalOf returns the caller of the request; ok is false on a route without authentication.
func PrincipalOf(c echo.Context) (p Principal, ok bool) {
	p, ok = c.Get(principalKey).(Principal)
	return p, ok
}
