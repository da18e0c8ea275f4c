package subscription

import "time"

// TrialLength is exactly fourteen days of 24 hours.
const TrialLength = 14 * 24 * time.Hour

// Status of a subscription; the values are those of the enum subscription_status.
type Status string

// The statuses. Active, trialing and past_due are live: a user has at most one such subscription.
const (
	StatusActive    Status = "active"
	StatusTrialing  Status = "trialing"
	StatusPastDue   Status = "past_due"
	StatusCancelled Status = "cancelled"
	StatusExpired   Status = "expired"
)

// Subscription is one user's hold on one plan.
type Subscription struct {
	ID          string // uuid
	UserID      string
	PlanID      string
	PlanCode    string // of the plan, read with it
	Status      Status
	TrialEndsAt *time.Time
	StartsAt    time.Time
	EndsAt      *time.Time
	CancelledAt *time.Time
	Version     int64 // of the user when this one last changed; 0 for rows of the previous release
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// NewTrial answers a trial that starts now.
func NewTrial(id, userID string, plan Plan, now time.Time) Subscription {
	end := now.Add(TrialLength)
	return Subscription{
		ID: id, UserID: userID, PlanID: plan.ID, PlanCode: plan.Code, Status: StatusTrialing,
		TrialEndsAt: &end, StartsAt: now, CreatedAt: now, UpdatedAt: now,
	}
}

// Live tells whether the subscription counts now: its status is a live one and a trial has not run out.
func (s Subscription) Live(now time.Time) bool {
	switch s.Status {
	case StatusActive, StatusPastDue:
		return true
	case StatusTrialing:
		return s.TrialEndsAt == nil || now.Before(*s.TrialEndsAt)
	}
	return false
}

// EffectiveUntil is when what the user holds ends: the end of the paid period where there is one, else the end of the
// trial; nil is open-ended. Cancelling does not shorten it (docs/events.md). A paid subscription without an end is
// open-ended however long its trial is over, until it is cancelled: then it ended at that moment.
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

// Cancel ends a live subscription. It answers ErrCannotCancel for any other.
func (s *Subscription) Cancel(now time.Time) error {
	if !s.Live(now) {
		return ErrCannotCancel
	}
	s.Status, s.CancelledAt, s.UpdatedAt = StatusCancelled, &now, now
	return nil
}

// Plan is what can be subscribed to.
type Plan struct {
	ID          string
	Name        string
	Code        string
	Description string
	MaxUsage    int
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// FreePlanCode is the plan of every trial; it is created when it is first needed.
const FreePlanCode = "free"

// State is what others may know of a user's subscription: the hash smap:sub:{user_id} (docs/compatibility.md).
type State struct {
	UserID         string
	Version        int64 // 0: a row of the previous release; it never replaces one with a version
	SubscriptionID string
	PlanCode       string
	Status         Status
	EffectiveUntil *time.Time // nil: open-ended
	UpdatedAt      time.Time
}

// State answers the subscription as others see it.
func (s Subscription) State() State {
	return State{
		UserID: s.UserID, Version: s.Version, SubscriptionID: s.ID, PlanCode: s.PlanCode, Status: s.Status,
		EffectiveUntil: s.EffectiveUntil(), UpdatedAt: s.UpdatedAt,
	}
}

// Actor is who asks.
type Actor struct {
	UserID string
	Admin  bool
}
