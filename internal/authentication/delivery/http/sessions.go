package http

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// logout ends what every token of the request stands for, and removes the cookie, whatever a token in it is worth: no
// state of a browser is one that cannot be left. It goes on when the page has been closed.
func (h handler) logout(c echo.Context) error {
	h.auth.Cookie.clear(c)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), logoutTime)
	defer cancel()
	if err := h.accounts.Logout(ctx, h.auth.signed(c.Request(), true)); err != nil {
		h.auth.LogoutFailed(ctx, err)
	}
	return httpserver.Success(c, http.StatusOK, nil)
}

// me returns who is logged in. It is the one route that replaces a token: that of a cookie which is stale, or has expired
// while its session lives. It also removes a second cookie with the login of another user, which would count once the
// first has expired.
func (h handler) me(c echo.Context) error {
	err := h.auth.identify(c)
	if errors.Is(err, authentication.ErrUnauthenticated) {
		return h.renewExpired(c)
	}
	if err != nil {
		return err
	}
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	user := caller.User
	if caller.token.cookie && caller.Stale && caller.Session.ID != "" {
		login, err := h.accounts.Renew(c.Request().Context(), caller.token.Claims)
		switch {
		case errors.Is(err, authentication.ErrUnauthenticated): // ended meanwhile
			return err
		case err == nil && login.Token.Value != "":
			h.auth.Cookie.SetLogin(c, login.Token.Value, login.Token.Lifetime)
			return httpserver.Success(c, http.StatusOK, present(login.User))
		} // any other error: the token is good, and the next request tries again
	}
	if caller.mixed {
		h.auth.Cookie.clearHostOnly(c)
	}
	return httpserver.Success(c, http.StatusOK, present(user))
}

// renewExpired responds with the user of the first expired cookie whose session lives, and with a new cookie.
func (h handler) renewExpired(c echo.Context) error {
	r := c.Request()
	for _, claims := range h.auth.signed(r, false) {
		login, err := h.accounts.Renew(r.Context(), claims)
		if errors.Is(err, authentication.ErrUnauthenticated) {
			continue
		}
		if err != nil {
			return err
		}
		record(c, caller{Identity: authentication.Identity{User: login.User}})
		if login.Token.Value != "" {
			h.auth.Cookie.SetLogin(c, login.Token.Value, login.Token.Lifetime)
		}
		return httpserver.Success(c, http.StatusOK, present(login.User))
	}
	return authentication.ErrUnauthenticated
}

// sessionResponse is one of a user's sessions. Times are RFC 3339 in UTC.
type sessionResponse struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"`
	DeviceName string    `json:"device_name,omitempty"`
	IPAddress  string    `json:"ip_address"`
	UserAgent  string    `json:"user_agent"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

type sessionsResponse struct {
	Sessions []sessionResponse `json:"sessions"`
}

func (h handler) sessions(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	found, err := h.accounts.Sessions(c.Request().Context(), caller.User.ID)
	if err != nil {
		return err
	}
	response := sessionsResponse{make([]sessionResponse, len(found))}
	for i, s := range found {
		response.Sessions[i] = sessionResponse{
			ID:         s.ID,
			Current:    s.ID == caller.Session.ID,
			DeviceName: s.Device,
			IPAddress:  s.IP,
			UserAgent:  s.UserAgent,
			CreatedAt:  s.CreatedAt,
			LastSeenAt: s.LastSeenAt,
			ExpiresAt:  s.ExpiresAt,
		}
	}
	return httpserver.Success(c, http.StatusOK, response)
}

// endSession also removes the cookie when the session is the present one.
func (h handler) endSession(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	id := c.Param("id")
	if err := h.accounts.EndSession(c.Request().Context(), caller.User.ID, id); err != nil {
		return err
	}
	if caller.token.cookie && strings.EqualFold(id, caller.Session.ID) {
		h.auth.Cookie.clear(c)
	}
	return httpserver.Success(c, http.StatusOK, nil)
}

// endOtherSessions sets a cookie for a caller whose token belongs to no session.
func (h handler) endOtherSessions(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	login, err := h.accounts.EndOtherSessions(c.Request().Context(), caller.Identity, h.auth.Client(c))
	if err != nil {
		return err
	}
	if login.Token.Value != "" {
		h.auth.Cookie.SetLogin(c, login.Token.Value, login.Token.Lifetime)
	}
	return httpserver.Success(c, http.StatusOK, nil)
}
