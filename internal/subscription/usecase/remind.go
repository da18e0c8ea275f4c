package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// remindersBatch is the batch of all reminders: they leave behind everything that a person waits for.
const remindersBatch = "trial_ending"

// remind hands the reminders that are due to the outbox. A trial that should have been reminded of twice meanwhile gets
// the later reminder only. Users who are gone, or have not proven their address, get none.
func (s *Scheduler) remind(ctx context.Context) error {
	for i := range subscription.ReminderDays {
		for {
			n, err := s.remindSome(ctx, i)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// remindWindow returns in which time a trial ends whose i-th reminder is due at now.
func remindWindow(i int, now time.Time) subscription.Window {
	w := subscription.Window{Since: now, Until: now.Add(time.Duration(subscription.ReminderDays[i]) * subscription.Day)}
	if i > 0 {
		w.Since = now.Add(time.Duration(subscription.ReminderDays[i-1]) * subscription.Day)
	}
	return w
}

// remindSome returns how many trials it has dealt with.
func (s *Scheduler) remindSome(ctx context.Context, i int) (int, error) {
	return s.piecewise(ctx, dueBatch, func(limit int) (int, []string, error) {
		reminded, locked, err := s.remindBatch(ctx, i, limit)
		if err != nil {
			return 0, locked, err
		}
		for range reminded {
			s.deps.Observer.Reminded(subscription.ReminderDays[i])
		}
		return len(locked), locked, nil
	})
}

// remindBatch reminds of up to limit trials in one transaction. It returns how many reminders it has stored and the
// trials it had locked.
func (s *Scheduler) remindBatch(
	ctx context.Context, i, limit int,
) (reminded int, locked []string, err error) {
	days := subscription.ReminderDays[i]
	err = s.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		reminded, locked = 0, nil
		now := s.deps.Clock.Now()
		trials, err := s.deps.Reminders.LockToRemind(ctx, remindWindow(i, now), days, s.exceptions(now), limit)
		if err != nil || len(trials) == 0 {
			return err
		}
		var users []string
		for _, sub := range trials {
			locked, users = append(locked, sub.ID), append(users, sub.UserID)
		}
		recipients, err := s.deps.Recipients.Recipients(ctx, users)
		if err != nil {
			return err
		}
		var events []event.Event
		for _, sub := range trials {
			if to, ok := recipients[sub.UserID]; ok {
				events = append(events, reminder(sub, to, now))
			}
		}
		reminded = len(events)
		if err := s.deps.Reminders.MarkReminded(ctx, locked, days); err != nil || reminded == 0 {
			return err
		}
		return s.deps.Events.Publish(ctx, events...)
	})
	return reminded, locked, err
}

func reminder(s subscription.Subscription, to subscription.Recipient, now time.Time) event.Event {
	left := s.TrialEndsAt.Sub(now)
	return event.Event{
		ID:    event.NewID(),
		Key:   event.EmailTrialEndingRequested,
		Time:  now,
		Batch: remindersBatch,
		Data: event.TrialEndingMail{
			UserID:    s.UserID,
			Recipient: to.Email,
			Locale:    to.Locale,
			PlanCode:  s.PlanCode,
			TrialEnd:  *s.TrialEndsAt,
			DaysLeft:  int((left + subscription.Day - 1) / subscription.Day),
		},
	}
}
