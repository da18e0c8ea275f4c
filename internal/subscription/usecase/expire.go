package usecase

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// CountDue returns how many subscriptions have ended and wait to be expired, and how many of those are overdue by more
// than seven days.
func CountDue(ctx context.Context, d subscription.DueRepository, now time.Time) (due, overdue int, err error) {
	if due, err = d.CountEnded(ctx, subscription.Window{Since: beginning, Until: now}); err != nil || due == 0 {
		return 0, 0, err
	}
	overdue, err = d.CountEnded(ctx, subscription.Window{Since: beginning, Until: now.Add(-freshFor)})
	return due, overdue, err
}

// expireFresh expires what has ended within the last seven days.
func (s *Scheduler) expireFresh(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		n, err := s.expireSome(ctx, fresh(now), dueBatch, nil)
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

// expireOverdue expires some of what has ended before, when the turn is this process's, and reports whether there is
// more.
func (s *Scheduler) expireOverdue(ctx context.Context, now time.Time) (more bool, err error) {
	w := subscription.Window{Since: beginning, Until: now.Add(-freshFor)}
	if _, more, err = s.deps.Due.FirstEnd(ctx, w, s.exceptions(now)); err != nil || !more {
		return false, err // the usual case takes no turn
	}
	_, err = s.expireSome(ctx, w, overdueBatch, func(ctx context.Context) (bool, error) {
		return s.deps.Pace.Grant(ctx, s.deps.Clock.Now(), overdueTurn)
	})
	return true, err
}

// expireSome expires up to limit subscriptions that have ended in w, if grant lets it, and returns how many it has dealt
// with.
func (s *Scheduler) expireSome(
	ctx context.Context, w subscription.Window, limit int, grant func(ctx context.Context) (bool, error),
) (int, error) {
	return s.piecewise(ctx, limit, func(limit int) (int, []string, error) {
		expired, locked, err := s.expireBatch(ctx, w, limit, grant)
		return len(expired), locked, err
	})
}

// expireBatch expires up to limit subscriptions that have ended in w in one transaction. It returns those it has expired,
// and on an error those it had locked.
func (s *Scheduler) expireBatch(
	ctx context.Context, w subscription.Window, limit int, grant func(ctx context.Context) (bool, error),
) (expired []subscription.Change, locked []string, err error) {
	err = s.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		expired, locked = nil, nil
		if grant != nil && limit > 1 { // the turn has been granted when they are taken one by one
			if granted, err := grant(ctx); err != nil || !granted {
				return err
			}
		}
		now := s.deps.Clock.Now()
		ended, err := s.deps.Due.LockEnded(ctx, w, s.exceptions(now), limit)
		if err != nil || len(ended) == 0 {
			return err
		}
		for _, sub := range ended {
			locked = append(locked, sub.ID)
		}
		expired, err = s.expire(ctx, ended, now)
		return err
	})
	if err != nil {
		return nil, locked, err
	}
	s.forget(locked, s.deps.Clock.Now())
	for _, c := range expired {
		s.deps.Observer.Expired(c.From)
	}
	return expired, locked, nil
}

// expire makes the transitions of locked subscriptions and stores their events. One that another process has changed
// meanwhile is left as it is.
func (s *Scheduler) expire(
	ctx context.Context, ended []subscription.Subscription, now time.Time,
) ([]subscription.Change, error) {
	var changes []subscription.Change
	var due []subscription.Subscription
	var alike, users []string // ids of those whose times stay
	odd := map[string]bool{}
	for _, sub := range ended {
		before := sub
		change, err := sub.Transition(subscription.StatusExpired, subscription.Scheduler, now, s.deps.PastDueGrace)
		if err != nil {
			continue
		}
		changes, due, users = append(changes, change), append(due, sub), append(users, sub.UserID)
		if sub.TrialEndsAt == before.TrialEndsAt && sub.EndsAt == before.EndsAt {
			alike = append(alike, sub.ID)
		} else {
			odd[sub.ID] = true
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	versions, err := s.deps.Due.RaiseVersions(ctx, users)
	if err != nil {
		return nil, err
	}
	if len(alike) > 0 {
		if err := s.deps.Due.Expire(ctx, alike, now); err != nil {
			return nil, err
		}
	}
	events := make([]event.Event, len(due))
	var before []string // users of subscriptions that the previous release made
	for i, sub := range due {
		if sub.Version == 0 {
			before = append(before, sub.UserID)
		}
		sub.Version = versions[sub.UserID]
		if odd[sub.ID] {
			if err := s.deps.Due.Update(ctx, sub); err != nil {
				return nil, err
			}
		}
		events[i] = changeEvent(sub, changes[i], s.deps.PastDueGrace)
	}
	follow, err := s.keepOthers(ctx, before, now)
	if err != nil {
		return nil, err
	}
	return changes, s.deps.Events.Publish(ctx, append(events, follow...)...)
}

// keepOthers makes the subscription current that still entitles a user of whom another one has just expired, and returns
// the events that say so. The previous release left such users: one cancelled until December beside a trial that ended
// unseen. Since then a user has one at a time.
func (s *Scheduler) keepOthers(ctx context.Context, users []string, now time.Time) ([]event.Event, error) {
	if len(users) == 0 {
		return nil, nil
	}
	others, err := s.deps.Due.CancelledBefore(ctx, users)
	if err != nil {
		return nil, err
	}
	last := map[string]subscription.Subscription{} // the one that ends last, by user
	for _, sub := range others {
		if !sub.Entitled(now, s.deps.PastDueGrace) {
			continue
		}
		known, ok := last[sub.UserID]
		if !ok || known.EffectiveUntil(s.deps.PastDueGrace).Before(*sub.EffectiveUntil(s.deps.PastDueGrace)) {
			last[sub.UserID] = sub
		}
	}
	if len(last) == 0 {
		return nil, nil
	}
	versions, err := s.deps.Due.RaiseVersions(ctx, slices.Sorted(maps.Keys(last)))
	if err != nil {
		return nil, err
	}
	var events []event.Event
	for userID, sub := range last {
		sub.Version, sub.UpdatedAt = versions[userID], now
		if err := s.deps.Due.Update(ctx, sub); err != nil {
			return nil, err
		}
		change := subscription.Change{
			From: sub.Status, To: sub.Status, Notice: subscription.NoticeStatusChanged, Reason: subscription.ReasonRenewed,
		}
		events = append(events, changeEvent(sub, change, s.deps.PastDueGrace))
	}
	return events, nil
}
