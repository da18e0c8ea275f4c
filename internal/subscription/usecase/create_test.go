package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
)

var (
	admin = subscription.Actor{UserID: "admin-1", Admin: true}
	pro   = subscription.Plan{ID: "plan-2", Name: "Pro", Code: "pro"}
)

func ptr[T any](v T) *T { return &v }

// draft is of a month that began an hour ago.
func draft(status subscription.Status) subscription.Draft {
	return subscription.Draft{
		UserID: "user-1", PlanID: "plan-2", Status: status, StartsAt: now.Add(-time.Hour), EndsAt: ptr(now.AddDate(0, 1, 0)),
	}
}

// knowsUser expects a use case to ask for user-1 and for the plan pro.
func (f fixture) knowsUser() {
	f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(true, nil).MinTimes(1)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	t.Run("stores and publishes", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.knowsUser()
		f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, nil)
		read := f.locks(held("old", subscription.StatusExpired, -time.Hour))
		f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(8), nil).After(read)
		var stored subscription.Subscription
		f.repo.EXPECT().Create(inATx(), gomock.Any()).DoAndReturn(func(_ context.Context, s subscription.Subscription) error {
			stored = s
			return nil
		})
		d := draft(subscription.StatusActive)
		got, err := f.Create(context.Background(), admin, d)
		require.NoError(t, err)
		require.NoError(t, uuid.Validate(got.ID))
		require.Equal(t, stored, got)
		require.Equal(t, subscription.Subscription{
			ID: got.ID, UserID: "user-1", PlanID: "plan-2", PlanCode: "pro", Status: "active", StartsAt: d.StartsAt, EndsAt: d.EndsAt,
			Version: 8, CreatedAt: now, UpdatedAt: now,
		}, got)
		require.Len(t, f.events.Events(), 1)
		require.Equal(t, event.SubscriptionCreatedData{
			Version: 8, SubscriptionID: got.ID, UserID: "user-1", PlanCode: "pro", Status: "active", EffectiveUntil: d.EndsAt,
			SubscriptionStart: &d.StartsAt, SubscriptionEnd: d.EndsAt, CreatedAt: now,
		}, f.events.Events()[0].Data)
	})
	t.Run("fills in what a status needs", func(t *testing.T) {
		t.Parallel()
		for status, until := range map[subscription.Status]time.Time{
			subscription.StatusTrialing: now.Add(-time.Hour).Add(subscription.TrialLength),
			subscription.StatusPastDue:  now.Add(grace),
		} {
			f := newFixture(t)
			f.knowsUser()
			f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, nil)
			f.locks()
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(1), nil)
			f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(nil)
			d := draft(status)
			d.EndsAt = nil
			s, err := f.Create(context.Background(), admin, d)
			require.NoError(t, err)
			require.Equal(t, until, *s.EffectiveUntil(grace), status)
		}
	})
	t.Run("expires what has ended without being ended", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.knowsUser()
		f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, nil)
		overdue := trial()
		overdue.TrialEndsAt = &now
		f.locks(overdue)
		expired := overdue
		expired.Status, expired.Version, expired.UpdatedAt = subscription.StatusExpired, 2, now
		gomock.InOrder(
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), nil),
			f.repo.EXPECT().Update(inATx(), expired).Return(nil),
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(3), nil),
			f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(nil),
		)
		_, err := f.Create(context.Background(), admin, draft(subscription.StatusActive))
		require.NoError(t, err)
		require.Len(t, f.events.Events(), 2)
		require.Equal(t, subscription.ReasonTrialExpired, f.events.Events()[0].Data.(event.SubscriptionCancelledData).CancellationReason)
		require.EqualValues(t, 3, f.events.Events()[1].Data.(event.SubscriptionCreatedData).Version)
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		with := func(change func(*subscription.Draft)) subscription.Draft {
			d := draft(subscription.StatusActive)
			change(&d)
			return d
		}
		tests := []struct {
			name   string
			draft  subscription.Draft
			held   []subscription.Subscription
			err    error
			fields map[string]string
		}{
			{"a second one", draft("active"), []subscription.Subscription{held("a", "active", time.Hour)}, subscription.ErrActiveExists, nil},
			{
				"one beside a cancelled one until its end", draft("active"),
				[]subscription.Subscription{held("a", "cancelled", time.Hour)}, subscription.ErrActiveExists, nil,
			},
			{"one that begins cancelled", draft("cancelled"), nil, subscription.ErrStatus, nil},
			{"one that begins expired", draft("expired"), nil, subscription.ErrStatus, nil},
			{
				"a start in the future", with(func(d *subscription.Draft) { d.StartsAt = now.Add(time.Hour) }), nil,
				subscription.ErrTimes, map[string]string{"starts_at": "must not be in the future"},
			},
			{
				"an end before the start", with(func(d *subscription.Draft) { d.EndsAt = &d.StartsAt }), nil,
				subscription.ErrTimes, map[string]string{"ends_at": "must be after starts_at"},
			},
			{
				"an end of a trial before the start", with(func(d *subscription.Draft) { d.TrialEndsAt = &d.StartsAt }), nil,
				subscription.ErrTimes, map[string]string{"trial_ends_at": "must be after starts_at"},
			},
			{
				"an end that has passed", with(func(d *subscription.Draft) { d.EndsAt = &now }), nil,
				subscription.ErrTimes, map[string]string{"ends_at": "must be in the future"},
			},
			{
				"a trial that has passed", with(func(d *subscription.Draft) { d.Status, d.EndsAt, d.TrialEndsAt = "trialing", nil, &now }), nil,
				subscription.ErrTimes, map[string]string{"trial_ends_at": "must be in the future"},
			},
			{
				"two ends of a trial", with(func(d *subscription.Draft) { d.Status, d.TrialEndsAt = "trialing", ptr(now.Add(1)) }), nil,
				subscription.ErrTimes, map[string]string{"ends_at": "must be trial_ends_at, or be left out, while trialing"},
			},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.knowsUser()
				f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil)
				f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, nil)
				f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(tt.held, nil).MaxTimes(1)
				got, err := f.Create(context.Background(), admin, tt.draft)
				require.ErrorIs(t, err, tt.err)
				require.Equal(t, tt.fields, apperror.From(err).Fields)
				require.Zero(t, got)
				f.requireNoEvent(t, "rollback")
			})
		}
		t.Run("who is no administrator", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, err := f.Create(context.Background(), owner, draft("active"))
			require.ErrorIs(t, err, subscription.ErrForbidden)
		})
		t.Run("a user who is deleted meanwhile", func(t *testing.T) {
			t.Parallel()
			for _, verb := range []func(f fixture) error{
				func(f fixture) error {
					_, err := f.Create(context.Background(), admin, draft("active"))
					return err
				},
				func(f fixture) error {
					_, err := f.Apply(context.Background(), "user-1", subscription.Bill{PlanCode: "pro", Status: "active", OccurredAt: now})
					return err
				},
			} {
				f := newFixture(t)
				gomock.InOrder(
					f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(true, nil),
					f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil),
					f.users.EXPECT().Exists(inATx(), "user-1").Return(false, nil),
				)
				require.ErrorIs(t, verb(f), subscription.ErrNoUser)
				f.requireNoEvent(t, "rollback")
			}
		})
		t.Run("an unknown user, an unknown plan", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().Exists(gomock.Any(), "user-1").Return(false, nil)
			_, err := f.Create(context.Background(), admin, draft("active"))
			require.ErrorIs(t, err, subscription.ErrNoUser)
			f.knowsUser()
			f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil)
			f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(subscription.Plan{}, subscription.ErrPlanNotFound)
			_, err = f.Create(context.Background(), admin, draft("active"))
			require.ErrorIs(t, err, subscription.ErrPlanNotFound)
			f.requireNoEvent(t, "rollback")
		})
	})
	t.Run("fails and rolls back if a step fails", func(t *testing.T) {
		t.Parallel()
		for failing := range 6 {
			f := newFixture(t)
			err := func(i int) error {
				if i == failing {
					return errDown
				}
				return nil
			}
			f.knowsUser()
			f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, err(0))
			f.plans.EXPECT().UseByID(inATx(), "plan-2").Return(pro, err(1)).MaxTimes(1)
			f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(nil, err(2)).MaxTimes(1)
			f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(1), err(3)).MaxTimes(1)
			f.repo.EXPECT().Create(inATx(), gomock.Any()).Return(err(4)).MaxTimes(1)
			f.events.Err = err(5)
			_, got := f.Create(context.Background(), admin, draft("active"))
			require.ErrorIs(t, got, errDown)
			f.requireNoEvent(t, "rollback")
		}
	})
}
