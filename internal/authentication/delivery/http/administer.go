package http

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Administration are the use cases behind the routes that change the accounts of others.
type Administration interface {
	ChangeRole(
		ctx context.Context, actor authentication.Actor, userID string, role authentication.Role,
	) (authentication.User, error)
	Disable(ctx context.Context, actor authentication.Actor, userID, reason string) (authentication.User, error)
	Enable(ctx context.Context, actor authentication.Actor, userID string) (authentication.User, error)
	Delete(ctx context.Context, actor authentication.Actor, userID, reason string) (authentication.User, error)
}

// Deleter is the use case behind the route that deletes the caller's own account.
type Deleter interface {
	DeleteOwn(ctx context.Context, user authentication.User, password string, client authentication.Client) error
}

type administration struct {
	accounts Administration
	deleter  Deleter
	auth     Authentication
}

// RegisterAdministration puts the routes on g that end accounts, or change what their users may do.
func RegisterAdministration(g *echo.Group, a Administration, d Deleter, auth Authentication) {
	h := administration{a, d, auth}
	authenticated := Authenticate(auth)
	g.DELETE("/users/me", h.deleteMe, authenticated)
	g.PUT("/users/:id/role", h.changeRole, authenticated)
	g.POST("/users/:id/disable", h.withReason(a.Disable), authenticated)
	g.POST("/users/:id/enable", h.enable, authenticated)
	g.DELETE("/users/:id", h.withReason(a.Delete), authenticated)
}

type passwordRequest struct {
	Password string `json:"password"`
}

func (r *passwordRequest) problems() map[string]string {
	return httpserver.Missing(map[string]string{"password": r.Password})
}

// deleteMe also removes the cookie.
func (h administration) deleteMe(c echo.Context) error {
	caller, err := callerOf(c)
	if err != nil {
		return err
	}
	var r passwordRequest
	if err := readStrict(c, &r); err != nil {
		return err
	}
	if err := h.deleter.DeleteOwn(c.Request().Context(), caller.User, r.Password, h.auth.Client(c)); err != nil {
		return err
	}
	h.auth.Cookie.clear(c)
	return httpserver.Success(c, http.StatusOK, nil)
}

func (h administration) changeRole(c echo.Context) error {
	actor, id, err := administrator(c)
	if err != nil {
		return err
	}
	var r struct {
		Role authentication.Role `json:"role"`
	}
	if err := httpserver.BindStrict(c, &r, authentication.ErrProfile); err != nil {
		return err
	}
	return respondUser(c)(h.accounts.ChangeRole(c.Request().Context(), actor, id, r.Role))
}

func (h administration) enable(c echo.Context) error {
	actor, id, err := administrator(c)
	if err != nil {
		return err
	}
	return respondUser(c)(h.accounts.Enable(c.Request().Context(), actor, id))
}

// withReason returns the handler of a verb that may be told why. The body can be left out.
func (h administration) withReason(
	verb func(ctx context.Context, actor authentication.Actor, userID, reason string) (authentication.User, error),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		actor, id, err := administrator(c)
		if err != nil {
			return err
		}
		var r struct {
			Reason string `json:"reason"`
		}
		if httpserver.HasBody(c.Request()) {
			if err := httpserver.BindStrict(c, &r, authentication.ErrProfile); err != nil {
				return err
			}
		}
		return respondUser(c)(verb(c.Request().Context(), actor, id, r.Reason))
	}
}

// administrator returns who makes the request and the user of its path. It returns ErrForbidden for everybody else.
func administrator(c echo.Context) (actor authentication.Actor, id string, err error) {
	if actor, err = actorOf(c); err != nil {
		return actor, "", err
	}
	if !actor.Admin {
		return actor, "", authentication.ErrForbidden
	}
	id, err = userID(c)
	return actor, id, err
}
