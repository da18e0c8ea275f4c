package usecase_test

import (
	"context"
	"strings"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
)

var owner = subscription.Actor{UserID: "user-1"}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("cancels and publishes", func(t *testing.T) {
		t.Parallel()
		tests := []struct {
			name                 string
			actor                subscription.Actor
			reason               string
			wantReason, wantFrom string
		}{
			{"the owner", owner, "", "user_request", ""},
			{"the owner, with a reason", owner, "  quá đắt\n", "quá đắt", ""},
			{"the owner, with blanks", owner, " \t\n", "user_request", ""},
			{"the owner, with the longest reason", owner, strings.Repeat("ắ", 500), strings.Repeat("ắ", 500), ""},
			{"an administrator", subscription.Actor{UserID: "admin-1", Admin: true}, "", "admin_action", "admin-1"},
			{"an administrator, with a reason", subscription.Actor{UserID: "admin-1", Admin: true}, "fraud", "fraud", "admin-1"},
			{"an administrator for themselves", subscription.Actor{UserID: "user-1", Admin: true}, "", "user_request", ""},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				want := trial()
				at := now
				want.Status, want.CancelledAt, want.UpdatedAt, want.Version = subscription.StatusCancelled, &at, now, 2
				gomock.InOrder( // read again under the lock
					f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), nil),
					f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil),
					f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), nil),
					f.repo.EXPECT().LatestOf(inATx(), "user-1").Return([]subscription.Subscription{trial()}, nil),
					f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), nil),
					f.repo.EXPECT().Update(inATx(), want).Return(nil),
				)
				got, err := f.Cancel(context.Background(), tt.actor, "sub-1", tt.reason)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, []string{"commit"}, f.tx.ends)
				require.Len(t, f.events.Events(), 1)
				e := f.events.Events()[0]
				require.NotEmpty(t, e.ID)
				require.Equal(t, event.Event{ID: e.ID, Key: event.SubscriptionCancelled, Time: now, Data: event.SubscriptionCancelledData{
					Version: 2, SubscriptionID: "sub-1", UserID: "user-1", PlanCode: "free", PreviousStatus: "trialing",
					NewStatus: "cancelled", CancelledAt: now, CancellationReason: tt.wantReason,
					EffectiveUntil: trial().TrialEndsAt, AdminUserID: tt.wantFrom,
				}}, e)
			})
		}
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		t.Run("a reason that is too long", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, err := f.Cancel(context.Background(), owner, "sub-1", strings.Repeat("ắ", 501))
			require.ErrorIs(t, err, subscription.ErrBody)
			require.Equal(t, map[string]string{"reason": "must have at most 500 characters"}, apperror.From(err).Fields)
			require.Empty(t, f.tx.ends)
		})
		t.Run("a reason with control characters", func(t *testing.T) {
			t.Parallel()
			for _, reason := range []string{"too\x00expensive", "a \x1b[31mred one"} {
				f := newFixture(t)
				_, err := f.Cancel(context.Background(), owner, "sub-1", reason)
				require.ErrorIs(t, err, subscription.ErrBody)
				require.Equal(t, map[string]string{"reason": "must not have control characters"}, apperror.From(err).Fields)
			}
		})
		t.Run("a subscription that does not exist", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.repo.EXPECT().ByID(inATx(), "sub-1").Return(subscription.Subscription{}, subscription.ErrNotFound)
			_, err := f.Cancel(context.Background(), owner, "sub-1", "")
			require.ErrorIs(t, err, subscription.ErrNotFound)
			f.requireNoEvent(t, "rollback")
		})
		t.Run("another user", func(t *testing.T) {
			t.Parallel()
			for _, other := range []string{"user-2", ""} {
				f := newFixture(t)
				f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), nil)
				got, err := f.Cancel(context.Background(), subscription.Actor{UserID: other}, "sub-1", "")
				require.ErrorIs(t, err, subscription.ErrNotFound)
				require.Zero(t, got)
				f.requireNoEvent(t, "rollback")
			}
		})
		t.Run("a subscription that was cancelled concurrently", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			cancelled := trial()
			_, err := cancelled.Transition(subscription.StatusCancelled, subscription.Owner, now, 0)
			require.NoError(t, err)
			gomock.InOrder(
				f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), nil),
				f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil),
				f.repo.EXPECT().ByID(inATx(), "sub-1").Return(cancelled, nil),
				f.repo.EXPECT().LatestOf(inATx(), "user-1").Return([]subscription.Subscription{cancelled}, nil),
			)
			_, err = f.Cancel(context.Background(), owner, "sub-1", "")
			require.ErrorIs(t, err, subscription.ErrCannotCancel)
			f.requireNoEvent(t, "rollback")
		})
	})
	t.Run("fails and rolls back if a step fails", func(t *testing.T) {
		t.Parallel()
		steps := []string{"locking", "reading again", "reading the current one", "raising the version", "updating", "publishing"}
		for failing, step := range steps {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				err := func(i int) error {
					if i == failing {
						return errDown
					}
					return nil
				}
				gomock.InOrder(
					f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), nil),
					f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, err(0)),
					f.repo.EXPECT().ByID(inATx(), "sub-1").Return(trial(), err(1)).MaxTimes(1),
					f.repo.EXPECT().LatestOf(inATx(), "user-1").Return([]subscription.Subscription{trial()}, err(2)).MaxTimes(1),
					f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), err(3)).MaxTimes(1),
					f.repo.EXPECT().Update(inATx(), gomock.Any()).Return(err(4)).MaxTimes(1),
				)
				f.events.Err = err(5)
				_, got := f.Cancel(context.Background(), owner, "sub-1", "")
				require.ErrorIs(t, got, errDown)
				f.requireNoEvent(t, "rollback")
			})
		}
	})
}
