// Package http serves the subscription of a user (docs/compatibility.md). It authenticates nobody: the middleware
// passed to [Register] does, and the use cases decide who may do what.
package http

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Lifecycle is the use case behind the routes.
type Lifecycle interface {
	Current(ctx context.Context, userID string) (subscription.Subscription, error)
	Cancel(ctx context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error)
}

type handler struct{ lifecycle Lifecycle }

// Register registers GET /subscriptions/me and POST /subscriptions/:id/cancel on g. The middleware authenticated must
// set the principal or refuse the request.
func Register(g *echo.Group, l Lifecycle, authenticated echo.MiddlewareFunc) {
	h := handler{l}
	g.GET("/subscriptions/me", h.current, authenticated)
	g.POST("/subscriptions/:id/cancel", h.cancel, authenticated)
}

func (h handler) current(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	return respond(c)(h.lifecycle.Current(c.Request().Context(), actor.UserID))
}

func (h handler) cancel(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return subscription.ErrInvalidID
	}
	var request struct {
		Reason string `json:"reason"`
	}
	if hasBody(c.Request()) {
		if err := httpserver.Bind(c, &request, subscription.ErrBody); err != nil {
			return err
		}
	}
	return respond(c)(h.lifecycle.Cancel(c.Request().Context(), actor, id.String(), request.Reason))
}

// respond returns a function that responds with the result of a verb.
func respond(c echo.Context) func(subscription.Subscription, error) error {
	return func(s subscription.Subscription, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, present(s))
	}
}

func actorOf(c echo.Context) (subscription.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return subscription.Actor{}, echo.NewHTTPError(http.StatusUnauthorized, "Please log in")
	}
	return subscription.Actor{UserID: p.Subject, Admin: p.Admin()}, nil
}

// hasBody reports whether r has a body. It peeks at the first byte, because a chunked body has no length; the next
// reader still gets that byte, or the error.
func hasBody(r *http.Request) bool {
	body := bufio.NewReader(r.Body)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return !errors.Is(err, io.EOF)
}
