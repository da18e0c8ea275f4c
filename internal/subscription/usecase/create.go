package usecase

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/subscription"
)

// clockSkew is how far ahead of ours the clock of a caller may be.
const clockSkew = 5 * time.Minute

// Create begins a subscription for a user whose last one has ended, and publishes it. One whose end has passed without
// the scheduler having been there is expired first, which is published as well.
//
// Create returns [subscription.ErrForbidden] if the actor is no administrator, [subscription.ErrStatus] for a status with
// which no subscription begins, [subscription.ErrTimes] for times that do not fit together or entitle to nothing,
// [subscription.ErrNoUser], [subscription.ErrPlanNotFound], and [subscription.ErrActiveExists] while the user holds
// one, even a cancelled one until its end.
func (l *Lifecycle) Create(
	ctx context.Context, actor subscription.Actor, d subscription.Draft,
) (s subscription.Subscription, err error) {
	if !actor.Admin {
		return s, subscription.ErrForbidden
	}
	if err := l.requireUser(ctx, d.UserID); err != nil {
		return s, err
	}
	err = l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if _, err := l.deps.Subscriptions.Lock(ctx, d.UserID); err != nil {
			return err
		}
		if err := l.requireUser(ctx, d.UserID); err != nil { // again: deleting takes the lock as well
			return err
		}
		plan, err := l.deps.Plans.UseByID(ctx, d.PlanID)
		if err != nil {
			return err
		}
		now := l.deps.Clock.Now()
		s = draft(d, plan, now)
		change, err := s.Begin(subscription.Administrator)
		if err != nil {
			return err
		}
		if err := l.checkTimes(s, now); err != nil {
			return err
		}
		s.SettleTrial()
		if err := l.endOverdue(ctx, d.UserID, now); err != nil {
			return err
		}
		return l.begin(ctx, &s, byActor(change, s, actor, ""))
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

// draft returns the subscription that d asks for.
func draft(d subscription.Draft, plan subscription.Plan, now time.Time) subscription.Subscription {
	s := subscription.Subscription{
		ID:          uuid.Must(uuid.NewV7()).String(),
		UserID:      d.UserID,
		PlanID:      plan.ID,
		PlanCode:    plan.Code,
		Status:      d.Status,
		TrialEndsAt: d.TrialEndsAt,
		StartsAt:    d.StartsAt,
		EndsAt:      d.EndsAt,
		CreatedAt:   now,
		UpdatedAt:   now,
	}
	if s.Status == subscription.StatusPastDue {
		s.PastDueSince = &now
	}
	return s
}

// endOverdue expires the user's current subscription when its end has passed. It returns
// [subscription.ErrActiveExists] while the user holds one.
func (l *Lifecycle) endOverdue(ctx context.Context, userID string, now time.Time) error {
	current, err := l.current(ctx, userID)
	switch {
	case err != nil:
		return err
	case current.Entitled(now, l.deps.PastDueGrace):
		return subscription.ErrActiveExists
	case !current.HasLiveStatus():
		return nil
	}
	change, err := current.Transition(subscription.StatusExpired, subscription.Scheduler, now, l.deps.PastDueGrace)
	if err != nil {
		return err
	}
	return l.update(ctx, &current, change)
}

// checkTimes returns [subscription.ErrTimes] with the problem of each time of what an administrator asks for.
func (l *Lifecycle) checkTimes(s subscription.Subscription, now time.Time) error {
	problems := map[string]string{}
	if s.StartsAt.After(now.Add(clockSkew)) {
		problems["starts_at"] = "must not be in the future"
	}
	for name, end := range map[string]*time.Time{"trial_ends_at": s.TrialEndsAt, "ends_at": s.EndsAt} {
		if end != nil && !end.After(s.StartsAt) {
			problems[name] = "must be after starts_at"
		}
	}
	if s.Status == subscription.StatusTrialing && s.TrialEndsAt != nil && s.EndsAt != nil && !s.EndsAt.Equal(*s.TrialEndsAt) {
		problems["ends_at"] = "must be trial_ends_at, or be left out, while trialing"
	}
	if len(problems) == 0 && s.HasLiveStatus() && !s.Entitled(now, l.deps.PastDueGrace) {
		field := "ends_at"
		if s.Status == subscription.StatusTrialing {
			field = "trial_ends_at"
		}
		problems[field] = "must be in the future"
	}
	if len(problems) > 0 {
		return subscription.ErrTimes.WithFields(problems)
	}
	return nil
}
