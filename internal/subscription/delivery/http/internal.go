package http

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// RegisterInternal registers the routes of other services on g. The middleware internal must admit these only.
func RegisterInternal(g *echo.Group, l Lifecycle, internal echo.MiddlewareFunc) {
	h := handler{l}
	g.GET("/subscriptions/internal/users/:id", h.currentForService, internal)
	g.GET("/internal/users/:id/entitlement", h.entitlement, internal)
	g.PUT("/internal/subscriptions/users/:id", h.bill, internal)
}

func (h handler) currentForService(c echo.Context) error {
	id, err := idOf(c, subscription.ErrUserID)
	if err != nil {
		return err
	}
	return respondHeld(c)(h.lifecycle.CurrentOf(c.Request().Context(), id))
}

func (h handler) entitlement(c echo.Context) error {
	id, err := idOf(c, subscription.ErrUserID)
	if err != nil {
		return err
	}
	e, err := h.lifecycle.Entitlement(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, presentEntitlement(e))
}

// billed lists the statuses that the billing service may report.
var billed = []subscription.Status{subscription.StatusActive, subscription.StatusPastDue, subscription.StatusCancelled}

func (h handler) bill(c echo.Context) error {
	id, err := idOf(c, subscription.ErrUserID)
	if err != nil {
		return err
	}
	var r struct {
		PlanCode   string `json:"plan_code"`
		Status     string `json:"status"`
		EndsAt     moment `json:"ends_at"`
		OccurredAt moment `json:"occurred_at"`
		Reason     string `json:"reason"`
	}
	if err := httpserver.BindStrict(c, &r, subscription.ErrBody); err != nil {
		return err
	}
	problems := map[string]string{}
	switch {
	case r.PlanCode == "":
		problems["plan_code"] = "is required"
	case strings.ContainsFunc(r.PlanCode, unicode.IsControl):
		problems["plan_code"] = "must not have control characters"
	}
	if !slices.Contains(billed, subscription.Status(r.Status)) {
		problems["status"] = "must be active, past_due or cancelled"
	}
	if r.OccurredAt.at == nil {
		problems["occurred_at"] = "is required"
	}
	times(problems, map[string]moment{"ends_at": r.EndsAt, "occurred_at": r.OccurredAt})
	if err := body(problems); err != nil {
		return err
	}
	return respond(c, http.StatusOK)(h.lifecycle.Apply(c.Request().Context(), id, subscription.Bill{
		PlanCode:   r.PlanCode,
		Status:     subscription.Status(r.Status),
		EndsAt:     r.EndsAt.at,
		OccurredAt: *r.OccurredAt.at,
		Reason:     r.Reason,
	}))
}
