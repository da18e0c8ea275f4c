package usecase_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/mock"
	"github.com/smap-platform/identity/internal/subscription/usecase"
)

// watched remembers what a scheduler reports.
type watched struct {
	mu   sync.Mutex
	seen []string
}

func (w *watched) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *watched) Expired(from subscription.Status) { w.add("expired %s", from) }
func (w *watched) Reminded(days int)                { w.add("reminded %d", days) }
func (w *watched) PassedOver(id string, again bool, err error) {
	w.add("passed over %s, again: %t, %v", id, again, err)
}
func (w *watched) SchedulerHealth(err error) { w.add("health %v", err) }

type schedulerFixture struct {
	*usecase.Scheduler
	tx         *transactor
	clock      *handClock
	due        *mock.MockDueRepository
	reminders  *mock.MockReminderRepository
	recipients *mock.MockRecipientFinder
	pace       *mock.MockPaceRepository
	events     *publisher
	watched    *watched
}

func newScheduler(t *testing.T) schedulerFixture {
	ctrl := gomock.NewController(t)
	f := schedulerFixture{
		tx:         &transactor{},
		clock:      &handClock{now},
		due:        mock.NewMockDueRepository(ctrl),
		reminders:  mock.NewMockReminderRepository(ctrl),
		recipients: mock.NewMockRecipientFinder(ctrl),
		pace:       mock.NewMockPaceRepository(ctrl),
		events:     &publisher{},
		watched:    &watched{},
	}
	f.Scheduler = usecase.NewScheduler(usecase.SchedulerDeps{
		Tx: f.tx, Clock: f.clock, Due: f.due, Reminders: f.reminders, Recipients: f.recipients, Pace: f.pace,
		Events: f.events, Observer: f.watched, PastDueGrace: grace,
	})
	return f
}

// ended returns a subscription that ended an hour ago.
func ended(id string, status subscription.Status) subscription.Subscription {
	end := now.Add(-time.Hour)
	s := subscription.Subscription{
		ID: id, UserID: "user of " + id, PlanCode: "free", Status: status, StartsAt: now.Add(-20 * subscription.Day), Version: 1,
	}
	if status == subscription.StatusTrialing {
		s.TrialEndsAt = &end
	} else {
		s.EndsAt = &end
	}
	return s
}

// The windows in which the scheduler looks.
var (
	freshWindow   = subscription.Window{Since: now.Add(-7 * subscription.Day), Until: now}
	overdueWindow = subscription.Window{Until: now.Add(-7 * subscription.Day)}
	lastDay       = subscription.Window{Since: now, Until: now.Add(subscription.Day)}
	daysBefore    = subscription.Window{Since: now.Add(subscription.Day), Until: now.Add(3 * subscription.Day)}
)

// nothingElse lets the scheduler find nothing but what the test expects.
func (f schedulerFixture) nothingElse() {
	f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), gomock.Any()).Return(nil, nil).AnyTimes()
	f.due.EXPECT().FirstEnd(gomock.Any(), overdueWindow, gomock.Any()).Return(time.Time{}, false, nil).AnyTimes()
	f.reminders.EXPECT().LockToRemind(inATx(), lastDay, 1, gomock.Any(), gomock.Any()).Return(nil, nil).AnyTimes()
	f.reminders.EXPECT().LockToRemind(inATx(), daysBefore, 3, gomock.Any(), gomock.Any()).Return(nil, nil).AnyTimes()
}

func (f schedulerFixture) run(t *testing.T) {
	t.Helper()
	more, err := f.RunDue(context.Background())
	require.NoError(t, err)
	require.False(t, more)
}

func TestExpire(t *testing.T) {
	t.Parallel()
	t.Run("expires what has ended and publishes each change", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		trial, paid, unpaid := ended("trial", "trialing"), ended("paid", "active"), ended("unpaid", "past_due")
		since := now.Add(-15 * subscription.Day)
		unpaid.EndsAt, unpaid.PastDueSince = nil, &since
		f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), 500).
			Return([]subscription.Subscription{trial, paid, unpaid}, nil)
		f.due.EXPECT().RaiseVersions(inATx(), []string{trial.UserID, paid.UserID, unpaid.UserID}).
			Return(map[string]int64{trial.UserID: 2, paid.UserID: 5, unpaid.UserID: 7}, nil)
		f.due.EXPECT().Expire(inATx(), []string{"trial", "paid"}, now)
		end := since.Add(grace)
		f.due.EXPECT().Update(inATx(), subscription.Subscription{
			ID: "unpaid", UserID: unpaid.UserID, PlanCode: "free", Status: subscription.StatusExpired,
			StartsAt: unpaid.StartsAt, EndsAt: &end, Version: 7, UpdatedAt: now,
		}).Return(nil)
		f.nothingElse()
		f.run(t)

		events := f.events.Events()
		require.Len(t, events, 3)
		require.Equal(t, event.SubscriptionCancelledData{
			Version: 2, SubscriptionID: "trial", UserID: trial.UserID, PlanCode: "free", PreviousStatus: "trialing",
			NewStatus: "expired", CancelledAt: now, CancellationReason: "trial_expired", EffectiveUntil: trial.TrialEndsAt,
		}, events[0].Data)
		require.Equal(t, event.SubscriptionStatusChangedData{
			Version: 5, SubscriptionID: "paid", UserID: paid.UserID, PlanCode: "free", PreviousStatus: "active",
			NewStatus: "expired", EffectiveUntil: paid.EndsAt, TransitionReason: "subscription_ended",
		}, events[1].Data)
		require.Equal(t, event.SubscriptionStatusChangedData{
			Version: 7, SubscriptionID: "unpaid", UserID: unpaid.UserID, PlanCode: "free", PreviousStatus: "past_due",
			NewStatus: "expired", EffectiveUntil: &end, TransitionReason: "subscription_ended",
		}, events[2].Data)
		require.Equal(t, []string{"expired trialing", "expired active", "expired past_due"}, f.watched.seen)
	})
	t.Run("keeps what else entitles a user of the previous release", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		old, december, november := ended("old", "trialing"), ended("december", "cancelled"), ended("november", "cancelled")
		over := ended("over", "cancelled")
		old.Version, december.UserID, november.UserID, over.UserID = 0, old.UserID, old.UserID, old.UserID
		later, latest := now.Add(subscription.Day), now.Add(30*subscription.Day)
		november.EndsAt, december.EndsAt = &later, &latest
		f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), 500).Return([]subscription.Subscription{old}, nil)
		f.due.EXPECT().Expire(inATx(), []string{"old"}, now)
		f.due.EXPECT().CancelledBefore(inATx(), []string{old.UserID}).
			Return([]subscription.Subscription{over, november, december}, nil)
		gomock.InOrder(
			f.due.EXPECT().RaiseVersions(inATx(), []string{old.UserID}).Return(map[string]int64{old.UserID: 1}, nil),
			f.due.EXPECT().RaiseVersions(inATx(), []string{old.UserID}).Return(map[string]int64{old.UserID: 2}, nil),
		)
		kept := december
		kept.Version, kept.UpdatedAt = 2, now
		f.due.EXPECT().Update(inATx(), kept).Return(nil)
		f.nothingElse()
		f.run(t)
		events := f.events.Events()
		require.Len(t, events, 2)
		require.Equal(t, event.SubscriptionStatusChangedData{
			Version: 2, SubscriptionID: "december", UserID: old.UserID, PlanCode: "free", PreviousStatus: "cancelled",
			NewStatus: "cancelled", EffectiveUntil: &latest, TransitionReason: "renewed",
		}, events[1].Data)
		require.Equal(t, []string{"expired trialing"}, f.watched.seen)
	})
	t.Run("leaves alone what another process has changed meanwhile", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		renewed := ended("renewed", "active")
		later := now.Add(time.Hour)
		renewed.EndsAt = &later
		f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), 500).
			Return([]subscription.Subscription{renewed, ended("gone", "expired")}, nil)
		f.nothingElse()
		f.run(t)
		require.Empty(t, f.events.Events())
		require.Empty(t, f.watched.seen)
	})
	t.Run("passes over one that cannot be changed, for longer each time", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		stored := []string{"bad", "good 1", "good 2"}
		f.due.EXPECT().LockEnded(inATx(), gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
			func(_ context.Context, _ subscription.Window, except []string, limit int) (found []subscription.Subscription, _ error) {
				for _, id := range stored {
					if !slices.Contains(except, id) && len(found) < limit {
						found = append(found, ended(id, "trialing"))
					}
				}
				return found, nil
			}).AnyTimes()
		f.due.EXPECT().RaiseVersions(inATx(), gomock.Any()).DoAndReturn(
			func(_ context.Context, users []string) (map[string]int64, error) {
				versions := map[string]int64{}
				for _, id := range users {
					versions[id] = 1
				}
				return versions, nil
			}).AnyTimes()
		f.due.EXPECT().Expire(inATx(), gomock.Any(), gomock.Any()).DoAndReturn(
			func(_ context.Context, ids []string, _ time.Time) error {
				if slices.Contains(ids, "bad") {
					return errDown
				}
				stored = slices.DeleteFunc(stored, func(id string) bool { return slices.Contains(ids, id) })
				return nil
			}).AnyTimes()
		f.due.EXPECT().FirstEnd(gomock.Any(), gomock.Any(), gomock.Any()).Return(time.Time{}, false, nil).AnyTimes()
		f.reminders.EXPECT().LockToRemind(inATx(), gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, nil).AnyTimes()
		f.run(t)
		require.Equal(t, []string{
			"passed over bad, again: false, the database is down", "expired trialing", "expired trialing",
		}, f.watched.seen)

		f.clock.now = now.Add(10*time.Second - 1)
		f.run(t)
		require.Len(t, f.watched.seen, 3, "not yet")
		f.clock.now = now.Add(10 * time.Second)
		stored = append(stored, "good 3")
		f.run(t)
		require.Equal(t, []string{"passed over bad, again: true, the database is down", "expired trialing"}, f.watched.seen[3:])
		f.clock.now = now.Add(30*time.Second - 1)
		f.run(t)
		require.Len(t, f.watched.seen, 5, "the second pause is twice as long")
	})
	t.Run("gives up when the first three fail: it is not them", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		all := []subscription.Subscription{
			ended("1", "trialing"), ended("2", "trialing"), ended("3", "trialing"), ended("4", "trialing"),
		}
		f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), gomock.Any()).DoAndReturn(
			func(_ context.Context, _ subscription.Window, except []string, limit int) ([]subscription.Subscription, error) {
				left := all[len(except):]
				return left[:min(limit, len(left))], nil
			}).AnyTimes()
		f.due.EXPECT().RaiseVersions(inATx(), gomock.Any()).Return(nil, errDown).AnyTimes()
		f.nothingElse()
		_, err := f.RunDue(context.Background())
		require.ErrorIs(t, err, errDown)
		require.Len(t, f.watched.seen, 3, "the next run begins behind them")
	})
	t.Run("does its other work when the database refuses this", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), 500).Return(nil, errDown)
		f.nothingElse()
		_, err := f.RunDue(context.Background())
		require.ErrorIs(t, err, errDown)
		require.Empty(t, f.watched.seen)
	})
}

func TestExpireOverdue(t *testing.T) {
	t.Parallel()
	overdue := func(f schedulerFixture) *gomock.Call {
		f.due.EXPECT().FirstEnd(gomock.Any(), overdueWindow, gomock.Any()).Return(now.Add(-9*subscription.Day), true, nil)
		return f.pace.EXPECT().Grant(inATx(), now, time.Second)
	}
	t.Run("takes fifty a turn, of all processes together", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		overdue(f).Return(true, nil)
		f.due.EXPECT().LockEnded(inATx(), overdueWindow, gomock.Any(), 50).Return([]subscription.Subscription{ended("old", "trialing")}, nil)
		f.due.EXPECT().RaiseVersions(inATx(), gomock.Any()).Return(map[string]int64{"user of old": 1}, nil)
		f.due.EXPECT().Expire(inATx(), []string{"old"}, now)
		f.nothingElse()
		more, err := f.RunDue(context.Background())
		require.NoError(t, err)
		require.True(t, more)
		require.Len(t, f.events.Events(), 1)
	})
	t.Run("waits for its turn", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		overdue(f).Return(false, nil)
		f.nothingElse()
		more, err := f.RunDue(context.Background())
		require.NoError(t, err)
		require.True(t, more)
		require.Empty(t, f.events.Events())
	})
	t.Run("fails when the turn cannot be taken", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		overdue(f).Return(false, errDown)
		f.nothingElse()
		_, err := f.RunDue(context.Background())
		require.ErrorIs(t, err, errDown)
	})
}

func TestRemind(t *testing.T) {
	t.Parallel()
	ending := func(id string, in time.Duration) subscription.Subscription {
		s := ended(id, "trialing")
		end := now.Add(in)
		s.TrialEndsAt = &end
		return s
	}
	t.Run("reminds each person once a lead, in their language, behind all that people wait for", func(t *testing.T) {
		t.Parallel()
		f := newScheduler(t)
		tomorrow, later, gone := ending("tomorrow", time.Hour), ending("later", 60*time.Hour), ending("gone", 61*time.Hour)
		f.reminders.EXPECT().LockToRemind(inATx(), lastDay, 1, gomock.Any(), 500).Return([]subscription.Subscription{tomorrow}, nil)
		f.recipients.EXPECT().Recipients(inATx(), []string{tomorrow.UserID}).
			Return(map[string]subscription.Recipient{tomorrow.UserID: {Email: "an@example.com", Locale: "vi"}}, nil)
		f.reminders.EXPECT().MarkReminded(inATx(), []string{"tomorrow"}, 1)
		f.reminders.EXPECT().LockToRemind(inATx(), daysBefore, 3, gomock.Any(), 500).Return([]subscription.Subscription{later, gone}, nil)
		f.recipients.EXPECT().Recipients(inATx(), []string{later.UserID, gone.UserID}).
			Return(map[string]subscription.Recipient{later.UserID: {Email: "mai@example.com", Locale: "en"}}, nil)
		f.reminders.EXPECT().MarkReminded(inATx(), []string{"later", "gone"}, 3)
		f.nothingElse()
		f.run(t)
		var data []event.Payload
		for _, e := range f.events.Events() {
			require.Equal(t, event.EmailTrialEndingRequested, e.Key)
			require.NotEmpty(t, e.Batch)
			data = append(data, e.Data)
		}
		require.Equal(t, []event.Payload{
			event.TrialEndingMail{
				UserID: tomorrow.UserID, Recipient: "an@example.com", Locale: "vi", PlanCode: "free",
				TrialEnd: *tomorrow.TrialEndsAt, DaysLeft: 1,
			},
			event.TrialEndingMail{
				UserID: later.UserID, Recipient: "mai@example.com", Locale: "en", PlanCode: "free",
				TrialEnd: *later.TrialEndsAt, DaysLeft: 3,
			},
		}, data)
		require.Equal(t, []string{"reminded 1", "reminded 3"}, f.watched.seen)
	})
	t.Run("rolls back and says so when a step fails", func(t *testing.T) {
		t.Parallel()
		for failing, step := range []string{"finding recipients", "marking", "publishing"} {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				f := newScheduler(t)
				err := func(i int) error {
					if i == failing {
						return errDown
					}
					return nil
				}
				one := ending("one", time.Hour)
				f.reminders.EXPECT().LockToRemind(inATx(), lastDay, 1, gomock.Any(), gomock.Any()).DoAndReturn(
					func(_ context.Context, _ subscription.Window, _ int, except []string, _ int) ([]subscription.Subscription, error) {
						if len(except) > 0 {
							return nil, nil
						}
						return []subscription.Subscription{one}, nil
					}).AnyTimes()
				f.recipients.EXPECT().Recipients(inATx(), gomock.Any()).
					Return(map[string]subscription.Recipient{one.UserID: {Email: "an@example.com"}}, err(0)).AnyTimes()
				f.reminders.EXPECT().MarkReminded(inATx(), gomock.Any(), 1).Return(err(1)).AnyTimes()
				f.events.Err = err(2)
				f.nothingElse()
				f.run(t)
				require.Equal(t, []string{"passed over one, again: false, the database is down"}, f.watched.seen)
				require.Empty(t, f.events.Events())
			})
		}
	})
}

func TestNextDue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		end       time.Duration // of any subscription; 0: none
		trialEnds [2]time.Duration
		want      time.Duration // 0: nothing
	}{
		{"nothing", 0, [2]time.Duration{}, 0},
		{"an end", time.Hour, [2]time.Duration{}, time.Hour},
		{"the last reminder", 26 * time.Hour, [2]time.Duration{26 * time.Hour, 0}, 2 * time.Hour},
		{"the first reminder", 80 * time.Hour, [2]time.Duration{80 * time.Hour, 80 * time.Hour}, 8 * time.Hour},
		{"an end before a reminder", time.Hour, [2]time.Duration{0, 80 * time.Hour}, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newScheduler(t)
			f.due.EXPECT().FirstEnd(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
				func(_ context.Context, w subscription.Window, _ []string) (time.Time, bool, error) {
					require.Equal(t, now, w.Since)
					return now.Add(tt.end), tt.end > 0, nil
				})
			for i, days := range subscription.ReminderDays {
				in := tt.trialEnds[i]
				f.reminders.EXPECT().FirstTrialEnd(gomock.Any(), gomock.Any()).DoAndReturn(
					func(_ context.Context, w subscription.Window) (time.Time, bool, error) {
						require.Equal(t, now.Add(time.Duration(days)*subscription.Day), w.Since)
						return now.Add(in), in > 0, nil
					})
			}
			next, ok, err := f.NextDue(context.Background(), now)
			require.NoError(t, err)
			require.Equal(t, tt.want > 0, ok)
			if ok {
				require.Equal(t, now.Add(tt.want), next)
			}
		})
	}
}

func TestLag(t *testing.T) {
	t.Parallel()
	f := newScheduler(t)
	f.due.EXPECT().FirstEnd(gomock.Any(), freshWindow, gomock.Any()).Return(now.Add(-time.Minute), true, nil)
	lag, err := f.Lag(context.Background())
	require.NoError(t, err)
	require.Equal(t, time.Minute, lag)
	f.due.EXPECT().FirstEnd(gomock.Any(), freshWindow, gomock.Any()).Return(time.Time{}, false, nil)
	lag, err = f.Lag(context.Background())
	require.NoError(t, err)
	require.Zero(t, lag)
	f.due.EXPECT().FirstEnd(gomock.Any(), freshWindow, gomock.Any()).Return(time.Time{}, false, errDown)
	_, err = f.Lag(context.Background())
	require.ErrorIs(t, err, errDown)
}

func TestSchedulerRun(t *testing.T) {
	t.Parallel()
	t.Run("reports an outage once, and its end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newScheduler(t)
			calls := 0
			f.due.EXPECT().LockEnded(inATx(), freshWindow, gomock.Any(), gomock.Any()).DoAndReturn(
				func(context.Context, subscription.Window, []string, int) ([]subscription.Subscription, error) {
					if calls++; calls <= 2 {
						return nil, errDown
					}
					return nil, nil
				}).AnyTimes()
			f.nothingElse()
			f.due.EXPECT().FirstEnd(gomock.Any(), gomock.Any(), gomock.Any()).Return(time.Time{}, false, nil).AnyTimes()
			f.reminders.EXPECT().FirstTrialEnd(gomock.Any(), gomock.Any()).Return(time.Time{}, false, nil).AnyTimes()
			ctx, stop := context.WithTimeout(context.Background(), 21*time.Second)
			defer stop()
			require.NoError(t, f.Run(ctx))
			require.Equal(t, 5, calls, "every five seconds")
			require.Equal(t, []string{"health the database is down", "health <nil>"}, f.watched.seen)
		})
	})
}
