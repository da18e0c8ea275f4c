package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
)

// billOf says that user-1 has the plan of [held] or pro, until a month from now.
func billOf(status subscription.Status) subscription.Bill {
	return subscription.Bill{PlanCode: "pro", Status: status, EndsAt: ptr(now.AddDate(0, 1, 0)), OccurredAt: now.Add(-time.Minute)}
}

// bills expects a use case to lock user-1, with what billing reported last, and to read what they hold.
func (f fixture) bills(last subscription.Billed, held ...subscription.Subscription) {
	f.knowsUser()
	f.repo.EXPECT().Lock(inATx(), "user-1").Return(last, nil)
	f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(held, nil)
	f.plans.EXPECT().UseByCode(inATx(), "pro").Return(pro, nil).MaxTimes(1)
}

func TestApply(t *testing.T) {
	t.Parallel()
	openEnded := billOf("active")
	openEnded.EndsAt = nil
	grown := billOf("past_due")
	grown.EndsAt = nil
	kept := billOf("cancelled")
	kept.EndsAt = nil
	t.Run("makes it so and publishes", func(t *testing.T) {
		t.Parallel()
		month := now.AddDate(0, 1, 0)
		overdue := trialOf("a")
		overdue.TrialEndsAt = &now
		tests := []struct {
			name     string
			held     []subscription.Subscription
			bill     subscription.Bill
			from, as string // status and reason of the event
			until    *time.Time
		}{
			{"of a trial", []subscription.Subscription{trialOf("a")}, billOf("active"), "trialing", "upgraded", &month},
			{"of a trial whose end has passed", []subscription.Subscription{overdue}, billOf("active"), "trialing", "upgraded", &month},
			{"a renewal", []subscription.Subscription{held("a", "active", time.Hour)}, billOf("active"), "active", "renewed", &month},
			{"a renewal after the end", []subscription.Subscription{held("a", "active", -time.Hour)}, billOf("active"), "active", "renewed", &month},
			{"open-ended", []subscription.Subscription{held("a", "active", time.Hour)}, openEnded, "active", "renewed", nil},
			{"a failed payment", []subscription.Subscription{held("a", "active", time.Hour)}, grown, "active", "payment_failed", ptr(now.Add(grace - time.Minute))},
			{"a late payment", []subscription.Subscription{held("a", "past_due", time.Hour)}, billOf("active"), "past_due", "reactivated", &month},
			{"a cancelled one that is paid again", []subscription.Subscription{held("a", "cancelled", time.Hour)}, billOf("active"), "cancelled", "reactivated", &month},
			{"a cancellation", []subscription.Subscription{held("a", "active", time.Hour)}, billOf("cancelled"), "active", "billing", &month},
			{"a cancellation that keeps the end", []subscription.Subscription{held("a", "active", time.Hour)}, kept, "active", "billing", ptr(now.Add(time.Hour))},
			{"another end of a cancelled one", []subscription.Subscription{held("a", "cancelled", time.Hour)}, billOf("cancelled"), "cancelled", "renewed", &month},
			{"a new one", nil, billOf("active"), "", "", &month},
			{"a new one after the last", []subscription.Subscription{held("a", "expired", -time.Hour)}, grown, "", "", ptr(now.Add(grace - time.Minute))},
			{"a new one after a cancelled one", []subscription.Subscription{held("a", "cancelled", -time.Hour)}, openEnded, "", "", nil},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.bills(subscription.Billed{At: tt.bill.OccurredAt.Add(-1), State: "another"}, tt.held...)
				f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(8), nil)
				var stored subscription.Subscription
				keep := func(_ context.Context, s subscription.Subscription) error {
					stored = s
					return nil
				}
				if tt.from == "" {
					f.repo.EXPECT().Create(inATx(), gomock.Any()).DoAndReturn(keep)
				} else {
					f.repo.EXPECT().Update(inATx(), gomock.Any()).DoAndReturn(keep)
				}
				f.repo.EXPECT().SetBilled(inATx(), "user-1", tt.bill.Billed()).Return(nil)
				got, err := f.Apply(context.Background(), "user-1", tt.bill)
				require.NoError(t, err)
				require.Equal(t, stored, got)
				require.Equal(t, []string{"pro", string(tt.bill.Status)}, []string{got.PlanCode, string(got.Status)})
				require.Equal(t, tt.until, got.EffectiveUntil(grace))
				require.Len(t, f.events.Events(), 1)
				switch d := f.events.Events()[0].Data.(type) {
				case event.SubscriptionCreatedData:
					require.Empty(t, tt.from)
					require.Equal(t, tt.until, d.EffectiveUntil)
				case event.SubscriptionCancelledData:
					require.Equal(t, []string{tt.from, tt.as}, []string{d.PreviousStatus, d.CancellationReason})
					require.Equal(t, tt.until, d.EffectiveUntil)
				case event.SubscriptionStatusChangedData:
					require.Equal(t, []string{tt.from, tt.as}, []string{d.PreviousStatus, d.TransitionReason})
					require.Equal(t, tt.until, d.EffectiveUntil)
				}
			})
		}
	})
	t.Run("changes nothing for what is so already", func(t *testing.T) {
		t.Parallel()
		of := func(b subscription.Bill) subscription.Subscription {
			s := held("a", b.Status, time.Hour)
			s.PlanID, s.PlanCode, s.EndsAt = pro.ID, pro.Code, b.EndsAt
			return s
		}
		for _, b := range []subscription.Bill{billOf("active"), openEnded, grown, billOf("past_due"), billOf("cancelled"), kept} {
			f := newFixture(t)
			f.bills(subscription.Billed{}, of(b))
			f.repo.EXPECT().SetBilled(inATx(), "user-1", b.Billed()).Return(nil) // for the next one
			got, err := f.Apply(context.Background(), "user-1", b)
			require.NoError(t, err)
			require.Equal(t, of(b), got)
			f.requireNoEvent(t, "commit")
		}
	})
	t.Run("changes nothing for a repeat, whatever happened since", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		b := billOf("active")
		since := held("a", "cancelled", time.Hour)
		f.bills(b.Billed(), since)
		got, err := f.Apply(context.Background(), "user-1", b)
		require.NoError(t, err)
		require.Equal(t, since, got)
		f.requireNoEvent(t, "commit")
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		earlier := subscription.Billed{At: now.Add(-time.Hour), State: "another"}
		tests := []struct {
			name string
			last subscription.Billed
			held []subscription.Subscription
			bill subscription.Bill
			err  error
		}{
			{"what is older than the last", subscription.Billed{At: now}, []subscription.Subscription{trialOf("a")}, billOf("active"), subscription.ErrOutdated},
			{
				"what is as old and another", subscription.Billed{At: billOf("active").OccurredAt, State: "another"},
				[]subscription.Subscription{trialOf("a")}, billOf("active"), subscription.ErrOutdated,
			},
			{"a cancellation without anything", earlier, nil, billOf("cancelled"), subscription.ErrCannotCancel},
			{"a cancellation after the end", earlier, []subscription.Subscription{held("a", "active", 0)}, billOf("cancelled"), subscription.ErrCannotCancel},
			{"a cancellation of what expired", earlier, []subscription.Subscription{held("a", "expired", 0)}, billOf("cancelled"), subscription.ErrCannotCancel},
			{"a failed payment of what was cancelled", earlier, []subscription.Subscription{held("a", "cancelled", time.Hour)}, grown, subscription.ErrStatus},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.bills(tt.last, tt.held...)
				got, err := f.Apply(context.Background(), "user-1", tt.bill)
				require.ErrorIs(t, err, tt.err)
				require.Equal(t, apperror.KindOf(tt.err), apperror.KindOf(err))
				require.Zero(t, got)
				f.requireNoEvent(t, "rollback")
			})
		}
		t.Run("times that cannot be", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			future, reversed := billOf("active"), billOf("active")
			future.OccurredAt = now.Add(6 * time.Minute)
			reversed.EndsAt = &reversed.OccurredAt
			for field, b := range map[string]subscription.Bill{"occurred_at": future, "ends_at": reversed} {
				_, err := f.Apply(context.Background(), "user-1", b)
				require.ErrorIs(t, err, subscription.ErrTimes)
				require.Contains(t, apperror.From(err).Fields, field)
			}
			odd := billOf("cancelled")
			odd.Reason = "a\x00b"
			_, err := f.Apply(context.Background(), "user-1", odd)
			require.ErrorIs(t, err, subscription.ErrBody)
		})
		t.Run("an unknown user, an unknown plan", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(false, nil)
			_, err := f.Apply(context.Background(), "user-1", billOf("active"))
			require.ErrorIs(t, err, subscription.ErrNoUser)
			f.knowsUser()
			f.locks()
			f.plans.EXPECT().UseByCode(inATx(), "pro").Return(subscription.Plan{}, subscription.ErrPlanNotFound)
			_, err = f.Apply(context.Background(), "user-1", billOf("active"))
			require.ErrorIs(t, err, subscription.ErrPlanNotFound)
			f.requireNoEvent(t, "rollback")
		})
	})
	t.Run("fails and rolls back if a step fails", func(t *testing.T) {
		t.Parallel()
		for failing := range 7 {
			f := newFixture(t)
			err := func(i int) error {
				if i == failing {
					return errDown
				}
				return nil
			}
			f.knowsUser()
			f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, err(0))
			f.repo.EXPECT().LatestOf(inATx(), "user-1").Return([]subscription.Subscription{trial()}, err(1)).MaxTimes(1)
			f.plans.EXPECT().UseByCode(inATx(), "pro").Return(pro, err(2)).MaxTimes(1)
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), err(3)).MaxTimes(1)
			f.repo.EXPECT().Update(inATx(), gomock.Any()).Return(err(4)).MaxTimes(1)
			f.events.Err = err(5)
			f.repo.EXPECT().SetBilled(inATx(), "user-1", gomock.Any()).Return(err(6)).MaxTimes(1)
			_, got := f.Apply(context.Background(), "user-1", billOf("active"))
			require.ErrorIs(t, got, errDown)
			require.Equal(t, []string{"rollback"}, f.tx.ends)
		}
	})
}
