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
			repository.EXPECT().DeleteOld(outside, now, nil).Return(int64(1), nil),
		)
		n, err := p.PurgeBatches(context.Background(), now)
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
	})
	t.Run("an account that cannot be deleted is passed over and named", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		gomock.InOrder(
			repository.EXPECT().ExpiredPage(outside, now, "", chunk).Return(first, nil),
			accounts.EXPECT().DeleteInvited(outside, []string{"an", "binh"}, now).Return(int64(0), errBroken),
			accounts.EXPECT().DeleteInvited(outside, []string{"an"}, now).Return(int64(0), errBroken),
			accounts.EXPECT().DeleteInvited(outside, []string{"binh"}, now).Return(int64(1), nil),
			repository.EXPECT().ExpiredPage(outside, now, "b", chunk).Return(second, nil),
			accounts.EXPECT().DeleteInvited(outside, []string{"chi"}, now).Return(int64(1), nil),
			repository.EXPECT().ExpiredPage(outside, now, "c", chunk),
		)
		n, err := p.PurgeExpired(context.Background(), now)
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "account an ")
		require.NotContains(t, err.Error(), "binh")
		require.Equal(t, int64(2), n)
	})
	t.Run("ten accounts in a row that cannot be deleted are an outage", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		page := make([]invitation.Invitation, chunk)
		repository.EXPECT().ExpiredPage(outside, now, "", chunk).Return(page, nil)
		accounts.EXPECT().DeleteInvited(outside, gomock.Any(), now).Return(int64(0), errBroken).Times(1 + 10)
		_, err := p.PurgeExpired(context.Background(), now)
		require.ErrorIs(t, err, errBroken)
	})
	t.Run("keeps a batch whose accounts cannot be erased, and no other", func(t *testing.T) {
		t.Parallel()
		p, repository, accounts := setup(t)
		page := []invitation.Invitation{{ID: "a", UserID: "an", BatchID: "one"}, {ID: "b", UserID: "binh", BatchID: "two"}}
		gomock.InOrder(
			repository.EXPECT().OldPage(outside, now, "", chunk).Return(page, nil),
			accounts.EXPECT().EraseInvited(outside, []string{"an", "binh"}).Return(errBroken),
			accounts.EXPECT().EraseInvited(outside, []string{"an"}).Return(errBroken),
			accounts.EXPECT().EraseInvited(outside, []string{"binh"}),
			repository.EXPECT().OldPage(outside, now, "b", chunk),
			repository.EXPECT().DeleteOld(outside, now, []string{"one"}).Return(int64(1), nil),
		)
		n, err := p.PurgeBatches(context.Background(), now)
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "account an of batch one")
		require.Equal(t, int64(1), n)
	})
}
