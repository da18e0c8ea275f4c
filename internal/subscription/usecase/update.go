package usecase

import (
	"cmp"
	"context"

	"github.com/smap-platform/identity/internal/subscription"
)

// Update changes the user's current subscription, publishes that, and returns it. A change to what it already is
// publishes nothing.
//
// Update returns [subscription.ErrForbidden] if the actor is no administrator, [subscription.ErrNotFound],
// [subscription.ErrPlanNotFound], [subscription.ErrTimes] for times that do not fit together, and the errors of
// [subscription.Subscription.Transition]; [subscription.ErrStatus] also for a subscription that another one has followed.
func (l *Lifecycle) Update(
	ctx context.Context, actor subscription.Actor, id string, a subscription.Amendment,
) (s subscription.Subscription, err error) {
	if !actor.Admin {
		return s, subscription.ErrForbidden
	}
	err = l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if s, err = l.deps.Subscriptions.ByID(ctx, id); err != nil {
			return err
		}
		var isCurrent bool
		if s, isCurrent, err = l.lockCurrent(ctx, s); err != nil {
			return err
		}
		s, err = l.amend(ctx, actor, s, isCurrent, a)
		return err
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

func (l *Lifecycle) amend(
	ctx context.Context, actor subscription.Actor, s subscription.Subscription, isCurrent bool, a subscription.Amendment,
) (subscription.Subscription, error) {
	to := cmp.Or(a.Status, s.Status)
	ends := to == subscription.StatusExpired
	switch {
	case a.UserID != "" && a.UserID != s.UserID:
		return s, subscription.ErrBody.WithFields(map[string]string{"user_id": "cannot change"})
	case !a.Changes(s):
		return s, nil
	case !isCurrent:
		return s, subscription.ErrStatus
	case ends && a.ChangesTimes(s):
		return s, subscription.ErrTimes.WithFields(map[string]string{"ends_at": "is set by expiring: leave the ends out"})
	}
	now := l.deps.Clock.Now()
	change, err := s.Transition(to, subscription.Administrator, now, l.deps.PastDueGrace)
	if err != nil {
		return s, err
	}
	if a.PlanID != "" && a.PlanID != s.PlanID {
		plan, err := l.deps.Plans.UseByID(ctx, a.PlanID)
		if err != nil {
			return s, err
		}
		s.PlanID, s.PlanCode = plan.ID, plan.Code
	}
	if !ends && (a.HasTimes() || s.HasLiveStatus() && change.From != change.To) {
		a.SetTimes(&s)
		if err := l.checkTimes(s, now); err != nil {
			return s, err
		}
	}
	s.SettleTrial()
	return s, l.update(ctx, &s, byActor(change, s, actor, ""))
}
