package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

func TestCurrent(t *testing.T) {
	t.Parallel()
	ends := func(d time.Duration) *time.Time {
		at := now.Add(d)
		return &at
	}
	tests := []struct {
		name  string
		held  subscription.Subscription
		err   error
		wants error
	}{
		{"active", subscription.Subscription{ID: "s", Status: subscription.StatusActive}, nil, nil},
		{
			"trialing",
			subscription.Subscription{ID: "s", Status: subscription.StatusTrialing, TrialEndsAt: ends(1)}, nil, nil,
		},
		{
			"trialing after the end of the trial",
			subscription.Subscription{ID: "s", Status: subscription.StatusTrialing, TrialEndsAt: ends(0)}, nil, subscription.ErrNotFound,
		},
		{
			"past due",
			subscription.Subscription{ID: "s", Status: subscription.StatusPastDue}, nil, subscription.ErrNotFound,
		},
		{"no subscription", subscription.Subscription{}, subscription.ErrNotFound, subscription.ErrNotFound},
		{"database unavailable", subscription.Subscription{}, errDown, errDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.repo.EXPECT().LiveByUser(gomock.Any(), "user-1").Return(tt.held, tt.err)
			got, err := f.Current(context.Background(), "user-1")
			if tt.wants != nil {
				require.ErrorIs(t, err, tt.wants)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.held, got)
		})
	}
}
