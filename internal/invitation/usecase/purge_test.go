package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/mock"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	const chunk = invitation.AccountChunk
	first := []invitation.Invitation{{ID: "a", UserID: "an"}, {ID: "b", UserID: "binh"}}
	second := []invitation.Invitation{{ID: "c", UserID: "chi"}}
	setup := func(t *testing.T) (*usecase.Purger, *mock.MockPurgeRepository, *mock.MockAccountEraser) {
		ctrl := gomock.NewController(t)
		repository, accounts := mock.NewMockPurgeRepository(ctrl), mock.NewMockAccountEraser(ctrl)
		return usecase.NewPurger(usecase.PurgerDeps{Invitations: repository, Accounts: accounts}), repository, accounts
	}

	t.Run("deletes the accounts of expired invitations page by page", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		gomock.InOrder(
			repository.EXPECT().ExpiredPage(outside, now, "", chunk).Return(first, nil),
			accounts.EXPECT().DeleteInvited(outside, []string{"an", "binh"}, now).Return(int64(1), nil),
			repository.EXPECT().ExpiredPage(outside, now, "b", chunk).Return(second, nil),
			accounts.EXPECT().DeleteInvited(outside, []string{"chi"}, now).Return(int64(1), nil),
			repository.EXPECT().ExpiredPage(outside, now, "c", chunk),
		)
		n, err := p.PurgeExpired(context.Background(), now)
		require.NoError(t, err)
		require.Equal(t, int64(2), n)
	})
	t.Run("erases unused accounts before it deletes their batch", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		gomock.InOrder(
			repository.EXPECT().OldPage(outside, now, "", chunk).Return(first, nil),
			accounts.EXPECT().EraseInvited(outside, []string{"an", "binh"}),
			repository.EXPECT().OldPage(outside, now, "b", chunk),
			repository.EXPECT().DeleteOld(outside, now).Return(int64(1), nil),
		)
		n, err := p.PurgeBatches(context.Background(), now)
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
	})
	t.Run("keeps a batch whose accounts cannot be erased", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		repository.EXPECT().OldPage(outside, gomock.Any(), "", chunk).Return(first, nil)
		accounts.EXPECT().EraseInvited(outside, gomock.Any()).Return(errBroken)
		_, err := p.PurgeBatches(context.Background(), now)
		require.ErrorIs(t, err, errBroken)
	})
}
