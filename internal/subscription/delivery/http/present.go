package http

import (
	"time"

	"github.com/smap-platform/identity/internal/subscription"
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
