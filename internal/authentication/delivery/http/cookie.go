package http

import (
	"net/http"
	"time"
)

// CookieOptions are the attributes of the login cookie (docs/compatibility.md). It is always HttpOnly and for the whole site; it
// lives as long as the token in it.
type CookieOptions struct {
	Name     string // the other services look for smap_auth_token
	Domain   string // empty: this host only
	Secure   bool   // false only where there is no TLS, as on a laptop
	SameSite http.SameSite
}

// Login returns the cookie of a session.
func (o CookieOptions) Login(token string, lifetime time.Duration) *http.Cookie {
	return o.cookie(token, int(lifetime/time.Second))
}

// logout has the attributes of login, or browsers would take it for another cookie. A negative age goes out as 0.
func (o CookieOptions) logout() *http.Cookie { return o.cookie("", -1) }

func (o CookieOptions) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: o.Name, Value: value, Path: "/", Domain: o.Domain, MaxAge: maxAge,
		HttpOnly: true, Secure: o.Secure, SameSite: o.SameSite,
	}
}
