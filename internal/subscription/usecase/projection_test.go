package usecase_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/mock"
	"github.com/smap-platform/identity/internal/subscription/usecase"
)

func newProjection(t *testing.T) (*usecase.Projection, *mock.MockLatestRepository, *mock.MockStateStore) {
	ctrl := gomock.NewController(t)
	repo, states := mock.NewMockLatestRepository(ctrl), mock.NewMockStateStore(ctrl)
	return usecase.NewProjection(usecase.ProjectionDeps{
		Clock: clock{}, Subscriptions: repo, States: states, PastDueGrace: grace,
	}), repo, states
}

func TestMirrorState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		applied bool
		err     error
		outcome event.Decision
	}{
		{"stored", true, nil, event.Decision{Action: event.Ack, Outcome: "handled"}},
		{"stale", false, nil, event.Decision{Action: event.Ack, Outcome: event.DropStale}},
		{"Redis unavailable", false, errDown, event.Decision{Action: event.Retry, Outcome: "retry"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _, states := newProjection(t)
			state := trial().State(grace)
			states.EXPECT().Apply(gomock.Any(), state).Return(tt.applied, tt.err)
			err := p.MirrorState(context.Background(), state)
			policy := event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}
			got := event.Decide(err, event.Delivery{}, policy, false, now)
			require.Equal(t, tt.outcome.Action, got.Action)
			require.Equal(t, tt.outcome.Outcome, got.Outcome)
		})
	}
}

func user(i int) subscription.Subscription {
	s := trial()
	s.ID, s.UserID, s.Version = fmt.Sprintf("sub-%d", i), fmt.Sprintf("user-%d", i), int64(i)
	return s
}

func TestRebuildStates(t *testing.T) {
	t.Parallel()
	t.Run("reads all pages", func(t *testing.T) {
		t.Parallel()
		p, repo, states := newProjection(t)
		gomock.InOrder(
			repo.EXPECT().LatestPerUser(gomock.Any(), "", 500).Return([]subscription.Subscription{user(0), user(1)}, nil),
			states.EXPECT().Apply(gomock.Any(), user(0).State(grace)).Return(true, nil), // a row of the previous release
			states.EXPECT().Apply(gomock.Any(), user(1).State(grace)).Return(false, nil),
			repo.EXPECT().LatestPerUser(gomock.Any(), "user-1", 500).Return([]subscription.Subscription{user(2)}, nil),
			states.EXPECT().Apply(gomock.Any(), user(2).State(grace)).Return(true, nil),
			repo.EXPECT().LatestPerUser(gomock.Any(), "user-2", 500).Return(nil, nil),
		)
		got, err := p.RebuildStates(context.Background())
		require.NoError(t, err)
		require.Equal(t, usecase.Rebuilt{Read: 3, Written: 2, Stale: 1}, got)
	})
	t.Run("returns the counts before an error", func(t *testing.T) {
		t.Parallel()
		t.Run("reading", func(t *testing.T) {
			t.Parallel()
			p, repo, states := newProjection(t)
			repo.EXPECT().LatestPerUser(gomock.Any(), "", 500).Return([]subscription.Subscription{user(1)}, nil)
			states.EXPECT().Apply(gomock.Any(), gomock.Any()).Return(true, nil)
			repo.EXPECT().LatestPerUser(gomock.Any(), "user-1", 500).Return(nil, errDown)
			got, err := p.RebuildStates(context.Background())
			require.ErrorIs(t, err, errDown)
			require.Equal(t, usecase.Rebuilt{Read: 1, Written: 1}, got)
		})
	})
	t.Run("passes over users whose state cannot be written, and names them at the end", func(t *testing.T) {
		t.Parallel()
		p, repo, states := newProjection(t)
		repo.EXPECT().LatestPerUser(gomock.Any(), "", 500).Return([]subscription.Subscription{user(1), user(2), user(3)}, nil)
		states.EXPECT().Apply(gomock.Any(), user(1).State(grace)).Return(false, errDown)
		states.EXPECT().Apply(gomock.Any(), user(2).State(grace)).Return(true, nil)
		states.EXPECT().Apply(gomock.Any(), user(3).State(grace)).Return(false, errDown)
		repo.EXPECT().LatestPerUser(gomock.Any(), "user-3", 500).Return(nil, nil)
		got, err := p.RebuildStates(context.Background())
		require.ErrorIs(t, err, errDown)
		require.ErrorContains(t, err, "user-1")
		require.ErrorContains(t, err, "user-3")
		require.NotContains(t, err.Error(), "user-2")
		require.Equal(t, usecase.Rebuilt{Read: 3, Written: 1, Failed: 2}, got)
	})
	t.Run("a hundred users in a row are an outage", func(t *testing.T) {
		t.Parallel()
		p, repo, states := newProjection(t)
		page := make([]subscription.Subscription, 500)
		for i := range page {
			page[i] = user(i)
		}
		repo.EXPECT().LatestPerUser(gomock.Any(), "", 500).Return(page, nil)
		states.EXPECT().Apply(gomock.Any(), gomock.Any()).Return(false, errDown).Times(100)
		got, err := p.RebuildStates(context.Background())
		require.ErrorContains(t, err, "not tried")
		require.Equal(t, usecase.Rebuilt{Read: 100, Failed: 100}, got)
	})
}
