// Package http serves plans and subscriptions (docs/compatibility.md). It authenticates nobody: the middleware passed to
// [Register] does, and the use cases decide who may do what.
package http

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Lifecycle is the use case behind the routes of subscriptions.
type Lifecycle interface {
	Current(ctx context.Context, userID string) (subscription.Subscription, subscription.Plan, error)
	CurrentOf(ctx context.Context, userID string) (subscription.Subscription, subscription.Plan, error)
	Entitlement(ctx context.Context, userID string) (subscription.Entitlement, error)
	List(ctx context.Context, actor subscription.Actor, f subscription.Filter) ([]subscription.Subscription, int, error)
	Find(ctx context.Context, actor subscription.Actor, id string) (subscription.Subscription, error)
	Create(ctx context.Context, actor subscription.Actor, d subscription.Draft) (subscription.Subscription, error)
	Update(
		ctx context.Context, actor subscription.Actor, id string, a subscription.Amendment,
	) (subscription.Subscription, error)
	Cancel(ctx context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error)
	Delete(ctx context.Context, actor subscription.Actor, id string) error
	Apply(ctx context.Context, userID string, b subscription.Bill) (subscription.Subscription, error)
}

type handler struct{ lifecycle Lifecycle }

// Register registers the routes of subscriptions on g. The middleware authenticated must set the principal or refuse the
// request.
func Register(g *echo.Group, l Lifecycle, authenticated echo.MiddlewareFunc) {
	h := handler{l}
	g.GET("/subscriptions/me", h.current, authenticated)
	g.GET("/subscriptions", h.list, authenticated)
	g.GET("/subscriptions/page", h.page, authenticated)
	g.GET("/subscriptions/:id", h.find, authenticated)
	g.POST("/subscriptions", h.create, authenticated)
	g.PUT("/subscriptions/:id", h.update, authenticated)
	g.DELETE("/subscriptions/:id", h.remove, authenticated)
	g.POST("/subscriptions/:id/cancel", h.cancel, authenticated)
}

func (h handler) current(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	return respondHeld(c)(h.lifecycle.Current(c.Request().Context(), actor.UserID))
}

func respondHeld(c echo.Context) func(subscription.Subscription, subscription.Plan, error) error {
	return func(s subscription.Subscription, plan subscription.Plan, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, presentHeld(s, plan))
	}
}

// list is page without metadata.
func (h handler) list(c echo.Context) error {
	found, _, err := h.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, subscriptionList{Subscriptions: found})
}

func (h handler) page(c echo.Context) error {
	found, metadata, err := h.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, subscriptionList{found, &metadata})
}

// read returns the subscriptions that the query asks for. Those that it names are not cut off at the default of a page.
func (h handler) read(c echo.Context) (found []view, metadata httpserver.Paginator, err error) {
	actor, err := actorOf(c)
	if err != nil {
		return nil, metadata, err
	}
	var f subscription.Filter
	if f.IDs, err = httpserver.IDs(c, "ids", subscription.ErrInvalidID); err != nil {
		return nil, metadata, err
	}
	if f.UserIDs, err = httpserver.IDs(c, "user_ids", subscription.ErrInvalidID); err != nil {
		return nil, metadata, err
	}
	if f.PlanIDs, err = httpserver.IDs(c, "plan_ids", subscription.ErrInvalidID); err != nil {
		return nil, metadata, err
	}
	statuses, err := httpserver.Values(c, "statuses", subscription.ErrBody)
	if err != nil {
		return nil, metadata, err
	}
	for _, text := range statuses {
		status := subscription.Status(text)
		if !status.Valid() {
			return nil, metadata, subscription.ErrBody.WithFields(map[string]string{"statuses": knownStatuses})
		}
		f.Statuses = append(f.Statuses, status)
	}
	page := pageOf(c, len(f.IDs))
	f.Limit, f.Offset = page.Limit, page.Offset()
	all, total, err := h.lifecycle.List(c.Request().Context(), actor, f)
	if err != nil {
		return nil, metadata, err
	}
	return presentAll(all, present), page.Paginator(total, len(all)), nil
}

const knownStatuses = "must be of active, trialing, past_due, cancelled, expired"

// pageOf returns the page that the query asks for; without a limit it holds all that the query names.
func pageOf(c echo.Context, named int) httpserver.Page {
	page := httpserver.PageOf(c)
	if c.QueryParam("limit") == "" {
		page.Limit = max(page.Limit, named)
	}
	return page
}

func (h handler) find(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrInvalidID)
	if err != nil {
		return err
	}
	return respond(c, http.StatusOK)(h.lifecycle.Find(c.Request().Context(), actor, id))
}

func (h handler) cancel(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrInvalidID)
	if err != nil {
		return err
	}
	var request struct {
		Reason string `json:"reason"`
	}
	if httpserver.HasBody(c.Request()) {
		if err := httpserver.Bind(c, &request, subscription.ErrBody); err != nil {
			return err
		}
	}
	return respond(c, http.StatusOK)(h.lifecycle.Cancel(c.Request().Context(), actor, id, request.Reason))
}

func (h handler) remove(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrInvalidID)
	if err != nil {
		return err
	}
	if err := h.lifecycle.Delete(c.Request().Context(), actor, id); err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, nil)
}

// respond returns a function that responds with the result of a verb.
func respond(c echo.Context, status int) func(subscription.Subscription, error) error {
	return func(s subscription.Subscription, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, status, present(s))
	}
}
