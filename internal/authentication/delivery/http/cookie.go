package http

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
)

// CookieOptions are the attributes of the login cookie (docs/compatibility.md). It is always HttpOnly and for the whole site; it
// lives as long as the token in it.
type CookieOptions struct {
	Name     string // the other services look for smap_auth_token
	Domain   string // empty: this host only
	Secure   bool   // false only where there is no TLS, as on a laptop
	SameSite http.SameSite
}

// browserName is the name of the cookie that names the browser which has asked for a code. With the prefix no other host
// of the domain can set it (RFC 6265bis §4.1.3.2); browsers take the prefix over TLS only.
func (o CookieOptions) browserName() string {
	if o.Secure {
		return "__Host-smap_registration"
	}
	return "smap_registration"
}

// setBrowser sets that cookie.
func (o CookieOptions) setBrowser(c echo.Context, value string) {
	c.SetCookie(&http.Cookie{
		Name: o.browserName(), Value: value, Path: "/", MaxAge: int(authentication.BrowserLifetime / time.Second),
		HttpOnly: true, Secure: o.Secure, SameSite: o.SameSite,
	})
}

// SetLogin sets the cookie of a session. A form of it that [CookieOptions.clearHostOnly] removes would hide it.
func (o CookieOptions) SetLogin(c echo.Context, token string, lifetime time.Duration) {
	o.clearHostOnly(c)
	c.SetCookie(o.cookie(o.Domain, token, int(lifetime/time.Second)))
}

// clear removes the cookie in both its forms.
func (o CookieOptions) clear(c echo.Context) {
	o.clearHostOnly(c)
	c.SetCookie(o.cookie(o.Domain, "", -1))
}

// clearHostOnly removes the form that the cookie had before there was a Domain: to a browser that is another cookie. It
// comes before every other form in a response, because some clients keep both as one.
func (o CookieOptions) clearHostOnly(c echo.Context) {
	if o.Domain != "" {
		c.SetCookie(o.cookie("", "", -1))
	}
}

// cookie has the same attributes whatever its value, or browsers would take it for another cookie. A negative age goes
// out as 0.
func (o CookieOptions) cookie(domain, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: o.Name, Value: value, Path: "/", Domain: domain, MaxAge: maxAge,
		HttpOnly: true, Secure: o.Secure, SameSite: o.SameSite,
	}
}
