package http

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Catalog is the use case behind the routes of plans.
type Catalog interface {
	ListPlans(ctx context.Context, f subscription.PlanFilter) ([]subscription.Plan, int, error)
	FindPlan(ctx context.Context, id string) (subscription.Plan, error)
	CreatePlan(ctx context.Context, actor subscription.Actor, f subscription.PlanFields) (subscription.Plan, error)
	UpdatePlan(ctx context.Context, actor subscription.Actor, id string, f subscription.PlanFields) (subscription.Plan, error)
	DeletePlan(ctx context.Context, actor subscription.Actor, id string) error
}

type plans struct{ catalog Catalog }

// RegisterPlans registers the routes of plans on g. Reading them needs no login.
func RegisterPlans(g *echo.Group, catalog Catalog, authenticated echo.MiddlewareFunc) {
	p := plans{catalog}
	g.GET("/plans", p.list)
	g.GET("/plans/page", p.page)
	g.GET("/plans/:id", p.find)
	g.POST("/plans", p.create, authenticated)
	g.PUT("/plans/:id", p.update, authenticated)
	g.DELETE("/plans/:id", p.remove, authenticated)
}

// list is page without metadata.
func (p plans) list(c echo.Context) error {
	found, _, err := p.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, planList{Plans: found})
}

func (p plans) page(c echo.Context) error {
	found, metadata, err := p.read(c)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, planList{found, &metadata})
}

func (p plans) read(c echo.Context) (found []planView, metadata httpserver.Paginator, err error) {
	var f subscription.PlanFilter
	if f.IDs, err = httpserver.IDs(c, "ids", subscription.ErrPlanID); err != nil {
		return nil, metadata, err
	}
	if f.Codes, err = httpserver.Values(c, "codes", subscription.ErrPlanBody); err != nil {
		return nil, metadata, err
	}
	page := pageOf(c, max(len(f.IDs), len(f.Codes)))
	f.Limit, f.Offset = page.Limit, page.Offset()
	all, total, err := p.catalog.ListPlans(c.Request().Context(), f)
	if err != nil {
		return nil, metadata, err
	}
	return presentAll(all, presentPlan), page.Paginator(total, len(all)), nil
}

func (p plans) find(c echo.Context) error {
	id, err := idOf(c, subscription.ErrPlanID)
	if err != nil {
		return err
	}
	return respondPlan(c, http.StatusOK)(p.catalog.FindPlan(c.Request().Context(), id))
}

// planRequest is the body of POST and PUT. What is absent or null stays as it is.
type planRequest struct {
	Name        *string `json:"name"`
	Code        *string `json:"code"`
	Description *string `json:"description"`
	MaxUsage    *int    `json:"max_usage"`
}

func (p plans) create(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	var r planRequest
	if err := httpserver.Bind(c, &r, subscription.ErrPlanBody); err != nil {
		return err
	}
	return respondPlan(c, http.StatusCreated)(p.catalog.CreatePlan(c.Request().Context(), actor, subscription.PlanFields(r)))
}

func (p plans) update(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrPlanID)
	if err != nil {
		return err
	}
	var r planRequest
	if err := httpserver.Bind(c, &r, subscription.ErrPlanBody); err != nil {
		return err
	}
	return respondPlan(c, http.StatusOK)(p.catalog.UpdatePlan(c.Request().Context(), actor, id, subscription.PlanFields(r)))
}

func (p plans) remove(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrPlanID)
	if err != nil {
		return err
	}
	if err := p.catalog.DeletePlan(c.Request().Context(), actor, id); err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, nil)
}

// respondPlan returns a function that responds with the result of a verb.
func respondPlan(c echo.Context, status int) func(subscription.Plan, error) error {
	return func(p subscription.Plan, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, status, presentPlan(p))
	}
}
