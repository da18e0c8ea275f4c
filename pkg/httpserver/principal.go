package httpserver

import "github.com/labstack/echo/v4"

const principalKey = "principal"

// Principal is the caller of a request, once a middleware has proven it.
type Principal struct {
	Subject string // the user's id
	Name    string
	Role    string
}

// roleAdmin is the role's word in tokens and in the database (docs/compatibility.md).
const roleAdmin = "ADMIN"

// Admin reports whether the caller was an administrator when their token was issued.
func (p Principal) Admin() bool { return p.Role == roleAdmin }

// SetPrincipal records the caller of the request.
func SetPrincipal(c echo.Context, p Principal) { c.Set(principalKey, p) }

// PrincipalOf returns the caller of the request; ok is false on a route without authentication.
func PrincipalOf(c echo.Context) (p Principal, ok bool) {
	p, ok = c.Get(principalKey).(Principal)
	return p, ok
}
