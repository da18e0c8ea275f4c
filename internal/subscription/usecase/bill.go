package usecase

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/subscription"
)

// Apply makes the user's subscription what the billing service says, publishes the change, and returns the subscription.
// A user whose last one has ended gets a new one. What is already so, or was applied last, publishes nothing.
//
// Apply returns [subscription.ErrTimes] for a bill from the future or one that ends before it begins,
// [subscription.ErrNoUser], [subscription.ErrPlanNotFound], [subscription.ErrOutdated] for one that is older than what was
// applied last, or as old and another, and the errors of [subscription.Subscription.Transition].
func (l *Lifecycle) Apply(ctx context.Context, userID string, b subscription.Bill) (s subscription.Subscription, err error) {
	b.Reason = strings.TrimSpace(b.Reason)
	if err := l.checkBill(b); err != nil {
		return s, err
	}
	if err := l.requireUser(ctx, userID); err != nil {
		return s, err
	}
	err = l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		s, err = l.apply(ctx, userID, b)
		return err
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

func (l *Lifecycle) checkBill(b subscription.Bill) error {
	if err := checkReason(b.Reason); err != nil {
		return err
	}
	problems := map[string]string{}
	if b.OccurredAt.After(l.deps.Clock.Now().Add(clockSkew)) {
		problems["occurred_at"] = "must not be in the future"
	}
	if b.Status != subscription.StatusCancelled && b.EndsAt != nil && !b.EndsAt.After(b.OccurredAt) {
		problems["ends_at"] = "must be after occurred_at"
	}
	if len(problems) > 0 {
		return subscription.ErrTimes.WithFields(problems)
	}
	return nil
}

func (l *Lifecycle) apply(ctx context.Context, userID string, b subscription.Bill) (subscription.Subscription, error) {
	last, err := l.deps.Subscriptions.Lock(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	if err := l.requireUser(ctx, userID); err != nil { // again: deleting takes the lock as well
		return subscription.Subscription{}, err
	}
	s, err := l.current(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	switch {
	case last.At.After(b.OccurredAt), last.At.Equal(b.OccurredAt) && last.State != b.Billed().State:
		return s, subscription.ErrOutdated.WithFields(map[string]string{"occurred_at": "is not after what was applied last"})
	case last.At.Equal(b.OccurredAt):
		return s, nil
	}
	plan, err := l.deps.Plans.UseByCode(ctx, b.PlanCode)
	if err != nil {
		return s, err
	}
	if !b.Says(s, plan, l.deps.PastDueGrace) {
		if s, err = l.enforce(ctx, userID, s, plan, b); err != nil {
			return s, err
		}
	}
	return s, l.deps.Subscriptions.SetBilled(ctx, userID, b.Billed())
}

// enforce changes s, the current subscription, to what b says, or begins another one when s has ended.
func (l *Lifecycle) enforce(
	ctx context.Context, userID string, s subscription.Subscription, plan subscription.Plan, b subscription.Bill,
) (subscription.Subscription, error) {
	now := l.deps.Clock.Now()
	since := b.OccurredAt
	if since.After(now) {
		since = now
	}
	if !s.HasLiveStatus() && !s.Entitled(now, l.deps.PastDueGrace) {
		if b.Status == subscription.StatusCancelled {
			return s, subscription.ErrCannotCancel
		}
		if b.EndsAt != nil && !b.EndsAt.After(now) {
			return s, subscription.ErrTimes.WithFields(map[string]string{"ends_at": "must be in the future"})
		}
		return l.beginBilled(ctx, userID, plan, b, since, now)
	}
	wasPastDue := s.Status == subscription.StatusPastDue
	change, err := s.Transition(b.Status, subscription.Billing, now, l.deps.PastDueGrace)
	if err != nil {
		return s, err
	}
	s.PlanID, s.PlanCode = plan.ID, plan.Code
	if b.EndsAt != nil || b.Status != subscription.StatusCancelled {
		s.EndsAt = b.EndsAt
	}
	if b.Status == subscription.StatusPastDue && !wasPastDue {
		s.PastDueSince = &since
	}
	if change.Notice == subscription.NoticeCancelled {
		change.Reason = cmp.Or(b.Reason, reasonBilling)
	}
	return s, l.update(ctx, &s, change)
}

func (l *Lifecycle) beginBilled(
	ctx context.Context, userID string, plan subscription.Plan, b subscription.Bill, since, now time.Time,
) (subscription.Subscription, error) {
	s := subscription.Subscription{
		ID:        uuid.Must(uuid.NewV7()).String(),
		UserID:    userID,
		PlanID:    plan.ID,
		PlanCode:  plan.Code,
		Status:    b.Status,
		StartsAt:  since,
		EndsAt:    b.EndsAt,
		CreatedAt: now,
		UpdatedAt: now,
	}
	if b.Status == subscription.StatusPastDue {
		s.PastDueSince = &since
	}
	change, err := s.Begin(subscription.Billing)
	if err != nil {
		return s, err
	}
	return s, l.begin(ctx, &s, change)
}
