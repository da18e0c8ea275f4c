package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

func TestEndSubscription(t *testing.T) {
	t.Parallel()
	for name, actor := range map[string]string{"by its user": "user-1", "by an operator": "", "by an administrator": "admin-1"} {
		t.Run("cancels what is live, "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			at := now
			want := trial()
			want.Status, want.CancelledAt, want.UpdatedAt, want.Version = subscription.StatusCancelled, &at, now, 2
			gomock.InOrder(
				f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil),
				f.repo.EXPECT().LatestOf(inATx(), "user-1").Return([]subscription.Subscription{trial()}, nil),
				f.repo.EXPECT().NextVersion(inATx(), "user-1").Return(int64(2), nil),
				f.repo.EXPECT().Update(inATx(), want),
			)
			require.NoError(t, f.EndSubscription(context.Background(), "user-1", actor))
			require.Equal(t, []string{"commit"}, f.tx.ends)
			require.Len(t, f.events.Events(), 1)
			data := f.events.Events()[0].Data.(event.SubscriptionCancelledData)
			admin := actor
			if actor == "user-1" {
				admin = ""
			}
			require.Equal(t, []string{"account_deleted", admin}, []string{data.CancellationReason, data.AdminUserID})
		})
	}

	ended := trial()
	over := now.Add(-subscription.Day)
	ended.TrialEndsAt = &over
	cancelled := trial()
	_, err := cancelled.Transition(subscription.StatusCancelled, subscription.Owner, now, grace)
	require.NoError(t, err)
	for name, held := range map[string][]subscription.Subscription{
		"a user who holds nothing":  nil,
		"what time has ended":       {ended},
		"what is cancelled already": {cancelled},
	} {
		t.Run("leaves alone "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.repo.EXPECT().Lock(inATx(), "user-1").Return(subscription.Billed{}, nil)
			f.repo.EXPECT().LatestOf(inATx(), "user-1").Return(held, nil)
			require.NoError(t, f.EndSubscription(context.Background(), "user-1", ""))
			f.requireNoEvent(t, "commit")
		})
	}
}
