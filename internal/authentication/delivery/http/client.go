package http

import (
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Client returns where the request comes from. typed are values that name the browser and came in another way than as a
// cookie.
func (a Authentication) Client(c echo.Context, typed ...string) authentication.Client {
	r := c.Request()
	browsers := typed
	for _, cookie := range r.CookiesNamed(a.Cookie.browserName()) {
		browsers = append(browsers, cookie.Value)
	}
	return authentication.Client{
		IP:        httpserver.ClientAddress(c),
		UserAgent: r.UserAgent(),
		Locale:    httpserver.Locale(r),
		Browsers:  browsers,
		Tokens:    a.signed(r, false),
	}
}
