package subscription

import (
	"strings"
	"time"
)

// Draft is what an administrator says of a subscription to create.
type Draft struct {
	UserID      string
	PlanID      string
	Status      Status
	StartsAt    time.Time
	TrialEndsAt *time.Time // nil: [TrialLength] after the start, of a trial
	EndsAt      *time.Time
}

// OptionalTime is a time in an [Amendment]. Unless Given the time stays as it is; given as nil it is removed.
type OptionalTime struct {
	Given bool
	Time  *time.Time
}

// Amendment is what an administrator changes about a subscription. What is empty stays as it is.
type Amendment struct {
	UserID      string // nothing but the user of the subscription is accepted
	PlanID      string
	Status      Status
	StartsAt    *time.Time
	TrialEndsAt OptionalTime
	EndsAt      OptionalTime
}

// SetTimes gives s the times of a.
func (a Amendment) SetTimes(s *Subscription) {
	if a.StartsAt != nil {
		s.StartsAt = *a.StartsAt
	}
	if a.TrialEndsAt.Given {
		s.TrialEndsAt = a.TrialEndsAt.Time
	}
	if a.EndsAt.Given {
		s.EndsAt = a.EndsAt.Time
	}
}

// HasTimes reports whether a says anything of times.
func (a Amendment) HasTimes() bool { return a.StartsAt != nil || a.TrialEndsAt.Given || a.EndsAt.Given }

// ChangesTimes reports whether a says anything of the times of s that is not so.
func (a Amendment) ChangesTimes(s Subscription) bool {
	changed := s
	a.SetTimes(&changed)
	return !changed.StartsAt.Equal(s.StartsAt) || !SameTime(changed.TrialEndsAt, s.TrialEndsAt) || !SameTime(changed.EndsAt, s.EndsAt)
}

// Changes reports whether a says anything of s that is not so.
func (a Amendment) Changes(s Subscription) bool {
	return a.PlanID != "" && a.PlanID != s.PlanID || a.Status != "" && a.Status != s.Status || a.ChangesTimes(s)
}

// Bill is what the billing service says a user holds.
type Bill struct {
	PlanCode   string
	Status     Status     // active, past_due or cancelled
	EndsAt     *time.Time // nil: open-ended if active, the grace if past_due, the end that was granted if cancelled
	OccurredAt time.Time
	Reason     string // of a cancellation
}

// Billed returns what is kept of b. Bills of the same state say the same.
func (b Bill) Billed() Billed {
	end := ""
	if b.EndsAt != nil {
		end = b.EndsAt.UTC().Format(time.RFC3339Nano)
	}
	return Billed{At: b.OccurredAt, State: strings.Join([]string{string(b.Status), end, b.PlanCode}, " ")}
}

// Says reports whether s, a subscription to plan, is what b says.
func (b Bill) Says(s Subscription, plan Plan, grace time.Duration) bool {
	switch {
	case s.Status != b.Status || s.PlanID != plan.ID:
		return false
	case s.Status == StatusCancelled:
		return b.EndsAt == nil || SameTime(s.EffectiveUntil(grace), b.EndsAt)
	}
	return SameTime(s.EndsAt, b.EndsAt)
}

// Billed is what the billing service reported last about a user; zero before it did.
type Billed struct {
	At    time.Time
	State string
}

// SameTime reports whether two times, or the lack of them, are the same.
func SameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
