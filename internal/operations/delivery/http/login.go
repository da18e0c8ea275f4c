package http

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// loginQuery says where a login leads.
func loginQuery(next string) string { return url.Values{"next": {next}}.Encode() }

// loginForm is what the page of the login shows.
type loginForm struct {
	Next    string
	Problem string
	Clear   bool // the token would cross the network in clear
}

func newLoginForm(c echo.Context) loginForm {
	f := loginForm{Next: c.FormValue("next"), Clear: !isPrivate(c.Request())}
	if !isOwnPath(f.Next) {
		f.Next = "/status"
	}
	if f.Clear {
		f.Problem = textOf(errClear)
	}
	return f
}

// loginPage asks for the token. A link from elsewhere brings no cookie along, so the page leads on those who are logged in.
func (h *handler) loginPage(c echo.Context) error {
	form := newLoginForm(c)
	if h.Access.Token == "" {
		return c.Redirect(http.StatusSeeOther, form.Next)
	}
	return h.render(c, "login", "Log in", form)
}

func (h *handler) login(c echo.Context) error {
	form := newLoginForm(c)
	if form.Clear {
		return errClear
	}
	from := httpserver.ClientAddress(c).String()
	if h.Access.Token == "" || !h.access.isToken(c.FormValue("token")) {
		h.Log.Warn().Str("client", from).Msg("a wrong token was typed into the console")
		form.Problem = textOf(errToken)
		return h.renderStatus(c, errToken.Code, "login", "Log in", form)
	}
	h.Log.Info().Str("client", from).Msg("an operator has logged in to the console")
	setCookie(c, "session", h.access.newSession(), sessionLife)
	return c.Redirect(http.StatusSeeOther, form.Next)
}

func (h *handler) logout(c echo.Context) error {
	setCookie(c, "session", "", 0)
	return c.Redirect(http.StatusSeeOther, "/login")
}
