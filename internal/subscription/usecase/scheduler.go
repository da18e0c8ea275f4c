package usecase

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

const (
	// lookEvery bounds how late the scheduler is for what another process has stored meanwhile.
	lookEvery = 5 * time.Second
	// dueBatch is how many subscriptions one transaction changes.
	dueBatch = 500
	// freshFor is how long after its end a subscription is expired as fast as possible. What is older has been left lying by
	// a release without a scheduler, and goes at overdueBatch in every overdueTurn, of all processes together.
	freshFor     = 7 * subscription.Day
	overdueBatch = 50
	overdueTurn  = time.Second
	// duePatience is how many subscriptions in a row may fail before the database counts as unavailable.
	duePatience = 3
	// mostPassed is how many subscriptions are passed over at once.
	mostPassed = 500
	// A subscription that failed is tried again after firstPause, and each time after twice as long up to longestPause. The
	// first is longer than lookEvery: others have their turn meanwhile.
	firstPause   = 10 * time.Second
	longestPause = time.Hour
)

// beginning is before every end.
var beginning = time.Time{}

// SchedulerDeps are the dependencies of [Scheduler]. All are required.
type SchedulerDeps struct {
	Tx           subscription.Transactor
	Clock        subscription.Clock
	Due          subscription.DueRepository
	Reminders    subscription.ReminderRepository
	Recipients   subscription.RecipientFinder
	Pace         subscription.PaceRepository
	Events       event.Publisher // must join the transactions of Tx
	Observer     subscription.SchedulerObserver
	PastDueGrace time.Duration
}

// Scheduler does what time does to subscriptions: it expires those that have ended and reminds people of the end of
// their trial. Any number may run, in any number of processes: each change is made once, with its event.
type Scheduler struct {
	deps    SchedulerDeps
	working sync.Mutex // held by RunDue
	failing bool       // the last run failed

	mu     sync.Mutex
	passed map[string]passedOver
	ran    time.Time
}

// passedOver is a subscription that failed.
type passedOver struct {
	until time.Time
	pause time.Duration
}

// NewScheduler returns a Scheduler on d.
func NewScheduler(d SchedulerDeps) *Scheduler {
	return &Scheduler{deps: d, passed: map[string]passedOver{}}
}

// Run does what is due whenever something is, until ctx ends, and returns nil.
func (s *Scheduler) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		rest := lookEvery
		more, err := s.RunDue(ctx)
		if ctx.Err() == nil && (err != nil) != s.failing {
			s.failing = err != nil
			s.deps.Observer.SchedulerHealth(err)
		}
		if err == nil {
			rest = s.rest(ctx, more)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
	return nil
}

// rest returns how long the scheduler may rest.
func (s *Scheduler) rest(ctx context.Context, more bool) time.Duration {
	if more {
		return overdueTurn
	}
	now := s.deps.Clock.Now()
	next, ok, err := s.NextDue(ctx, now)
	if err != nil || !ok {
		return lookEvery
	}
	return min(max(next.Sub(now), time.Millisecond), lookEvery)
}

// RunDue does all that is due now. more says that overdue subscriptions are left, whose next turn has not come. A
// subscription that cannot be changed is reported and passed over for a while. RunDue returns an error when no other
// would fare better.
func (s *Scheduler) RunDue(ctx context.Context) (more bool, err error) {
	s.working.Lock()
	defer s.working.Unlock()
	now := s.deps.Clock.Now()
	fresh, reminders := s.expireFresh(ctx, now), s.remind(ctx)
	more, overdue := s.expireOverdue(ctx, now)
	err = errors.Join(fresh, reminders, overdue)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ran = now
	}
	return more, err
}

// LastRun returns when the last run without an error began, and the zero time before there was one.
func (s *Scheduler) LastRun() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran
}

// piecewise has batch deal with up to limit subscriptions in one transaction, and returns how many it has dealt with.
// When that fails it has them dealt with one by one, and passes over those that fail alone. batch returns those it had
// locked.
func (s *Scheduler) piecewise(
	ctx context.Context, limit int, batch func(limit int) (dealt int, locked []string, err error),
) (int, error) {
	all, locked, err := batch(limit)
	if err == nil || len(locked) == 0 { // an error before anything could be read is not theirs
		return all, err
	}
	all = 0
	for failed := 0; all+failed < len(locked); {
		dealt, one, err := batch(1)
		switch {
		case err == nil && dealt == 0:
			return all, nil // another process was faster
		case err == nil:
			all += dealt
			continue
		case len(one) == 0, ctx.Err() != nil:
			return all, err
		case len(s.exceptions(s.deps.Clock.Now())) >= mostPassed:
			return all, errTooManyPassed
		}
		failed++
		for _, id := range one {
			s.passOver(id, s.deps.Clock.Now(), err)
		}
		if all == 0 && failed == duePatience {
			return all, err // none has succeeded: it is not them, or not them alone
		}
	}
	return all, nil
}

// NextDue returns the next moment after now at which something comes due; ok is false when nothing will.
func (s *Scheduler) NextDue(ctx context.Context, now time.Time) (next time.Time, ok bool, err error) {
	next, ok, err = s.deps.Due.FirstEnd(ctx, subscription.Window{Since: now, Until: now.AddDate(1000, 0, 0)}, s.exceptions(now))
	if err != nil {
		return time.Time{}, false, err
	}
	for _, days := range subscription.ReminderDays {
		before := time.Duration(days) * subscription.Day
		w := subscription.Window{Since: now.Add(before), Until: now.AddDate(1000, 0, 0)}
		end, found, err := s.deps.Reminders.FirstTrialEnd(ctx, w)
		if err != nil {
			return time.Time{}, false, err
		}
		if at := end.Add(-before); found && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok, nil
}

// Lag returns how long the subscription has been due that should have been expired first. What is passed over and what
// is overdue by more than seven days does not count.
func (s *Scheduler) Lag(ctx context.Context) (time.Duration, error) {
	now := s.deps.Clock.Now()
	end, ok, err := s.deps.Due.FirstEnd(ctx, fresh(now), s.exceptions(now))
	if err != nil || !ok {
		return 0, err
	}
	return now.Sub(end), nil
}

func fresh(now time.Time) subscription.Window {
	return subscription.Window{Since: now.Add(-freshFor), Until: now}
}

// exceptions returns the subscriptions that are passed over at now.
func (s *Scheduler) exceptions(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, p := range s.passed {
		if now.Before(p.until) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// passOver reports a subscription that failed and leaves it alone for a while.
func (s *Scheduler) passOver(id string, now time.Time, err error) {
	s.mu.Lock()
	p, again := s.passed[id]
	p.pause = min(max(2*p.pause, firstPause), longestPause)
	p.until = now.Add(p.pause)
	s.passed[id] = p
	s.mu.Unlock()
	s.deps.Observer.PassedOver(id, again, err)
}

// forget ends the record of subscriptions that have been changed, by whomever, or have not been due for long.
func (s *Scheduler) forget(ids []string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.passed, id)
	}
	maps.DeleteFunc(s.passed, func(_ string, p passedOver) bool { return now.Sub(p.until) > longestPause })
}

var errTooManyPassed = errors.New(
	"subscription: too many subscriptions cannot be expired; see the log for which, and correct their rows")
