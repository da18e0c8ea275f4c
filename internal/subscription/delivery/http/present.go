package http

import (
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// view is the subscription in a response (docs/compatibility.md). Times are RFC 3339 in UTC.
type view struct {
	ID          string     `json:"id"`
	UserID      string     `json:"user_id"`
	PlanID      string     `json:"plan_id"`
	Status      string     `json:"status"`
	TrialEndsAt *time.Time `json:"trial_ends_at,omitempty"`
	StartsAt    time.Time  `json:"starts_at"`
	EndsAt      *time.Time `json:"ends_at,omitempty"`
	CancelledAt *time.Time `json:"cancelled_at,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func present(s subscription.Subscription) view {
	return view{
		ID:          s.ID,
		UserID:      s.UserID,
		PlanID:      s.PlanID,
		Status:      string(s.Status),
		TrialEndsAt: s.TrialEndsAt,
		StartsAt:    s.StartsAt,
		EndsAt:      s.EndsAt,
		CancelledAt: s.CancelledAt,
		CreatedAt:   s.CreatedAt,
		UpdatedAt:   s.UpdatedAt,
	}
}

// heldView is a subscription with its plan.
type heldView struct {
	view
	Plan heldPlan `json:"plan"`
}

type heldPlan struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Code        string `json:"code"`
	MaxUsage    int    `json:"max_usage"`
	Description string `json:"description,omitempty"`
}

func presentHeld(s subscription.Subscription, p subscription.Plan) heldView {
	return heldView{present(s), heldPlan{
		ID:          p.ID,
		Name:        p.Name,
		Code:        p.Code,
		MaxUsage:    p.MaxUsage,
		Description: p.Description,
	}}
}

type planView struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Code        string    `json:"code"`
	Description string    `json:"description,omitempty"`
	MaxUsage    int       `json:"max_usage"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func presentPlan(p subscription.Plan) planView {
	return planView{
		ID:          p.ID,
		Name:        p.Name,
		Code:        p.Code,
		Description: p.Description,
		MaxUsage:    p.MaxUsage,
		CreatedAt:   p.CreatedAt,
		UpdatedAt:   p.UpdatedAt,
	}
}

// entitlementView is what other services decide by. Plan, status and until are null for a user who never held anything.
type entitlementView struct {
	Entitled bool       `json:"entitled"`
	Plan     *string    `json:"plan"`
	Status   *string    `json:"status"`
	Until    *time.Time `json:"until"`
	Version  int64      `json:"version"`
}

func presentEntitlement(e subscription.Entitlement) entitlementView {
	v := entitlementView{Entitled: e.Entitled, Until: e.Until, Version: e.Version}
	if status := string(e.Status); status != "" {
		v.Plan, v.Status = &e.PlanCode, &status
	}
	return v
}

// presentAll presents each of a list.
func presentAll[T, V any](all []T, one func(T) V) []V {
	views := make([]V, len(all))
	for i, each := range all {
		views[i] = one(each)
	}
	return views
}

// subscriptionList is the list of a response; Metadata of a page only.
type subscriptionList struct {
	Subscriptions []view                `json:"subscriptions"`
	Metadata      *httpserver.Paginator `json:"metadata,omitempty"`
}

// planList is the list of a response; Metadata of a page only.
type planList struct {
	Plans    []planView            `json:"plans"`
	Metadata *httpserver.Paginator `json:"metadata,omitempty"`
}
