package subscription

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Day is exactly 24 hours, whatever the clocks do.
const Day = 24 * time.Hour

// TrialLength is exactly fourteen days.
const TrialLength = 14 * Day

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

// Valid reports whether s is one of the statuses.
func (s Status) Valid() bool {
	return slices.Contains([]Status{StatusActive, StatusTrialing, StatusPastDue, StatusCancelled, StatusExpired}, s)
}

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
	// PastDueSince is when the subscription became past_due; nil in rows of the previous release and for other statuses.
	PastDueSince *time.Time
	Version      int64 // of the user at the last change; 0 for rows of the previous release
	CreatedAt    time.Time
	UpdatedAt    time.Time
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

// HasLiveStatus reports whether the status is live, whatever the times say.
func (s Subscription) HasLiveStatus() bool {
	return s.Status == StatusActive || s.Status == StatusTrialing || s.Status == StatusPastDue
}

// Entitled reports whether the subscription entitles its user at now. It is the one rule of entitlement: a user is
// entitled while a subscription that is trialing, active, past_due or cancelled is effective. The end is exclusive. The
// start does not count: no subscription is made for later.
func (s Subscription) Entitled(now time.Time, grace time.Duration) bool {
	if !s.HasLiveStatus() && s.Status != StatusCancelled {
		return false
	}
	until := s.EffectiveUntil(grace)
	return until == nil || now.Before(*until)
}

// EffectiveUntil returns the end of what the user holds. It is nil, open-ended, for no subscription but an active one
// without an end. A trial without an end ends [TrialLength] after its start, a past due subscription without one after
// grace, and a cancelled one without any date at its last change: rows of the previous release have such gaps.
// Cancelling does not shorten what was granted (docs/events.md); a paid subscription without an end ends with it.
func (s Subscription) EffectiveUntil(grace time.Duration) *time.Time {
	switch s.Status {
	case StatusActive:
		return s.EndsAt
	case StatusTrialing:
		return firstOf(s.TrialEndsAt, s.EndsAt, after(s.StartsAt, TrialLength))
	case StatusPastDue:
		return firstOf(s.EndsAt, after(*firstOf(s.PastDueSince, &s.UpdatedAt), grace))
	}
	if s.EndsAt == nil && s.CancelledAt != nil && s.TrialEndsAt != nil && s.CancelledAt.After(*s.TrialEndsAt) {
		return s.CancelledAt // it was paid and open-ended when it was cancelled
	}
	return firstOf(s.EndsAt, s.TrialEndsAt, s.CancelledAt, &s.UpdatedAt)
}

// SettleTrial gives a trial one end, in TrialEndsAt: the one that it has by the rule.
func (s *Subscription) SettleTrial() {
	if s.Status == StatusTrialing {
		s.TrialEndsAt, s.EndsAt = s.EffectiveUntil(0), nil
	}
}

func after(t time.Time, d time.Duration) *time.Time {
	end := t.Add(d)
	return &end
}

func firstOf(times ...*time.Time) *time.Time {
	for _, t := range times {
		if t != nil {
			return t
		}
	}
	return nil
}

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

// State returns the state that other services see; grace is that of [Subscription.EffectiveUntil].
func (s Subscription) State(grace time.Duration) State {
	return State{
		UserID:         s.UserID,
		Version:        s.Version,
		SubscriptionID: s.ID,
		PlanCode:       s.PlanCode,
		Status:         s.Status,
		EffectiveUntil: s.EffectiveUntil(grace),
		UpdatedAt:      s.UpdatedAt,
	}
}

// Latest returns the one of held, a user's subscriptions that were changed last, that counts: it decides what the user
// holds. It reports false when held is empty. Rows of the previous release share version 0: of those one that entitles
// the user comes first, then one with a live status, then the one changed last.
func Latest(held []Subscription, now time.Time, grace time.Duration) (Subscription, bool) {
	if len(held) == 0 {
		return Subscription{}, false
	}
	return slices.MaxFunc(held, func(a, b Subscription) int {
		return cmp.Or(
			compareBool(a.Entitled(now, grace), b.Entitled(now, grace)),
			compareBool(a.HasLiveStatus(), b.HasLiveStatus()),
			a.UpdatedAt.Compare(b.UpdatedAt),
			strings.Compare(a.ID, b.ID),
		)
	}), true
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Entitlement is what a user holds at one moment. Without a subscription all is zero.
type Entitlement struct {
	Entitled bool
	PlanCode string
	Status   Status
	Until    *time.Time // nil: open-ended, or nothing was ever held
	Version  int64
}

// Entitlement returns what s gives its user at now; see [Subscription.Entitled].
func (s Subscription) Entitlement(now time.Time, grace time.Duration) Entitlement {
	return Entitlement{
		Entitled: s.Entitled(now, grace),
		PlanCode: s.PlanCode,
		Status:   s.Status,
		Until:    s.EffectiveUntil(grace),
		Version:  s.Version,
	}
}

// Filter selects subscriptions. An empty list selects all.
type Filter struct {
	IDs, UserIDs, PlanIDs []string
	Statuses              []Status
	Limit, Offset         int
}

// Actor is the user who makes a request, with the role that the database has now.
type Actor struct {
	UserID string
	Admin  bool
}
