// Package http serves a person's own subscription (docs/compatibility.md). Who asks comes from the middleware in front, which
// the routes need; the rules are the use cases'.
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

// roleAdmin is the role that may act for others (docs/compatibility.md).
const roleAdmin = "ADMIN"

// Lifecycle is what the routes ask of the domain.
type Lifecycle interface {
	Current(ctx context.Context, userID string) (subscription.Subscription, error)
	Cancel(ctx context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error)
}

type handler struct{ lifecycle Lifecycle }

// Register puts GET /subscriptions/me and POST /subscriptions/:id/cancel on g. authenticated must set the principal
// or refuse the request.
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
	s, err := h.lifecycle.Current(c.Request().Context(), actor.UserID)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, present(s))
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
	s, err := h.lifecycle.Cancel(c.Request().Context(), actor, id.String(), request.Reason)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, present(s))
}

func actorOf(c echo.Context) (subscription.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return subscription.Actor{}, echo.NewHTTPError(http.StatusUnauthorized, "Please log in")
	}
	return subscription.Actor{UserID: p.Subject, Admin: p.Role == roleAdmin}, nil
}

// hasBody looks at the first byte, because a chunked body does not tell its length. What it looked at is still there
// for the reader after it, errors included.
func hasBody(r *http.Request) bool {
	body := bufio.NewReader(r.Body)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return !errors.Is(err, io.EOF)
}
