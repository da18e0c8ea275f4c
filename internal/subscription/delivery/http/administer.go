package http

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// subscriptionRequest is the body of POST and PUT.
type subscriptionRequest struct {
	UserID      string `json:"user_id"`
	PlanID      string `json:"plan_id"`
	Status      string `json:"status"`
	StartsAt    moment `json:"starts_at"`
	TrialEndsAt moment `json:"trial_ends_at"`
	EndsAt      moment `json:"ends_at"`
}

// problems returns what is wrong with the fields that the request has, and puts its ids in lower case.
func (r *subscriptionRequest) problems() map[string]string {
	problems := map[string]string{}
	for name, id := range map[string]*string{"user_id": &r.UserID, "plan_id": &r.PlanID} {
		if parsed, err := uuid.Parse(*id); err == nil {
			*id = parsed.String()
		} else if *id != "" {
			problems[name] = "must be a uuid"
		}
	}
	if r.Status != "" && !subscription.Status(r.Status).Valid() {
		problems["status"] = knownStatuses
	}
	times(problems, map[string]moment{"starts_at": r.StartsAt, "trial_ends_at": r.TrialEndsAt, "ends_at": r.EndsAt})
	return problems
}

func (h handler) create(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	var r subscriptionRequest
	if err := httpserver.Bind(c, &r, subscription.ErrBody); err != nil {
		return err
	}
	problems := r.problems()
	for name, missing := range map[string]bool{
		"user_id": r.UserID == "", "plan_id": r.PlanID == "", "status": r.Status == "", "starts_at": r.StartsAt.at == nil,
	} {
		if missing {
			problems[name] = "is required"
		}
	}
	if err := body(problems); err != nil {
		return err
	}
	return respond(c, http.StatusCreated)(h.lifecycle.Create(c.Request().Context(), actor, subscription.Draft{
		UserID:      r.UserID,
		PlanID:      r.PlanID,
		Status:      subscription.Status(r.Status),
		StartsAt:    *r.StartsAt.at,
		TrialEndsAt: r.TrialEndsAt.at,
		EndsAt:      r.EndsAt.at,
	}))
}

// update changes what the body has. The user of a subscription stays: a front end may send the one it has read.
func (h handler) update(c echo.Context) error {
	actor, err := administrator(c)
	if err != nil {
		return err
	}
	id, err := idOf(c, subscription.ErrInvalidID)
	if err != nil {
		return err
	}
	var r subscriptionRequest
	if err := httpserver.Bind(c, &r, subscription.ErrBody); err != nil {
		return err
	}
	if err := body(r.problems()); err != nil {
		return err
	}
	return respond(c, http.StatusOK)(h.lifecycle.Update(c.Request().Context(), actor, id, subscription.Amendment{
		UserID:      r.UserID,
		PlanID:      r.PlanID,
		Status:      subscription.Status(r.Status),
		StartsAt:    r.StartsAt.at,
		TrialEndsAt: r.TrialEndsAt.optional(),
		EndsAt:      r.EndsAt.optional(),
	}))
}
