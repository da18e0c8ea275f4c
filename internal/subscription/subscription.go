package subscription

import "time"

// TrialLength is exactly fourteen days of 24 hours.
const TrialLength = 14 * 24 * time.Hour

// Status is the status of a subscription, a value of the enum subscription_status.
type Status string

// The statuses. Active, trialing and past_due are live: a user has at most one subscription with a live status.
const (
	StatusActive    Status = "active"
	StatusTrialing  Status = "trialing"
	StatusPastDue   Status = "past_due"
	StatusCancelled Status = "cancelled"
	StatusExpired   Status = "expired"
)

// Subscription is a user's subscription to a plan.
type Subscription struct {
	ID          string // uuid
	UserID      string
	PlanID      string
	PlanCode    string // read with the subscription
	Status      Status
	TrialEndsAt *time.Time
	StartsAt    time.Time
	EndsAt      *time.Time
	CancelledAt *time.Time
	Version     int64 // of the user at the last change; 0 for rows of the previous release
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// NewTrial returns a trial of plan that starts now.
func NewTrial(id, userID string, plan Plan, now time.Time) Subscription {
	end := now.Add(TrialLength)
	return Subscription{
		ID:          id,
		UserID:      userID,
		PlanID:      plan.ID,
		PlanCode:    plan.Code,
		Status:      StatusTrialing,
		TrialEndsAt: &end,
		StartsAt:    now,
		CreatedAt:   now,
		UpdatedAt:   now,
	}
}

// Live reports whether the subscription is in force: its status is live and a trial has not ended.
func (s Subscription) Live(now time.Time) bool {
	switch s.Status {
	case StatusActive, StatusPastDue:
		return true
	case StatusTrialing:
		return s.TrialEndsAt == nil || now.Before(*s.TrialEndsAt)
	}
	return false
}

// EffectiveUntil returns the end of what the user holds, or nil if it is open-ended: the end of the paid period if
// there is one, else the end of the trial. Cancelling does not shorten it (docs/events.md). A paid subscription
// without an end is open-ended until it is cancelled, and then ends at that moment.
func (s Subscription) EffectiveUntil() *time.Time {
	paidOpenEnded := s.TrialEndsAt == nil || s.CancelledAt != nil && s.CancelledAt.After(*s.TrialEndsAt)
	switch {
	case s.EndsAt != nil:
		return s.EndsAt
	case s.Status == StatusActive || s.Status == StatusPastDue:
		return nil
	case s.Status == StatusCancelled && paidOpenEnded:
		return s.CancelledAt
	}
	return s.TrialEndsAt
}

// Cancel ends a live subscription. It returns [ErrCannotCancel] for any other.
func (s *Subscription) Cancel(now time.Time) error {
	if !s.Live(now) {
		return ErrCannotCancel
	}
	s.Status, s.CancelledAt, s.UpdatedAt = StatusCancelled, &now, now
	return nil
}

// Plan is a plan that users subscribe to.
type Plan struct {
	ID          string
	Name        string
	Code        string
	Description string
	MaxUsage    int
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// FreePlanCode is the code of the plan of every trial. The plan is created on first use.
const FreePlanCode = "free"

// State is the part of a subscription that other services see: the hash smap:sub:{user_id} (docs/compatibility.md).
type State struct {
	UserID         string
	Version        int64 // 0 for rows of the previous release: never replaces a higher one
	SubscriptionID string
	PlanCode       string
	Status         Status
	EffectiveUntil *time.Time // nil: open-ended
	UpdatedAt      time.Time
}

// State returns the state that other services see.
func (s Subscription) State() State {
	return State{
		UserID:         s.UserID,
		Version:        s.Version,
		SubscriptionID: s.ID,
		PlanCode:       s.PlanCode,
		Status:         s.Status,
		EffectiveUntil: s.EffectiveUntil(),
		UpdatedAt:      s.UpdatedAt,
	}
}

// Actor is the user who asks.
type Actor struct {
	UserID string
	Admin  bool
}
