package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
)

func TestInvited(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	setup := func(t *testing.T) (*usecase.Invited, *mock.MockInvitedRepository) {
		users := mock.NewMockInvitedRepository(gomock.NewController(t))
		return usecase.NewInvited(users), users
	}
	t.Run("creates users who can do nothing yet, and returns those who are new", func(t *testing.T) {
		t.Parallel()
		invited, users := setup(t)
		var stored []authentication.User
		users.EXPECT().CreateInvited(ctx, gomock.Any()).DoAndReturn(
			func(_ context.Context, all []authentication.User) ([]string, error) {
				stored = all
				return []string{"an@example.com"}, nil
			})
		ids, err := invited.CreateInvited(ctx, []string{"binh@example.com", "an@example.com"}, "vi", start)
		require.NoError(t, err)
		require.Len(t, stored, 2)
		require.NotEqual(t, stored[0].ID, stored[1].ID)
		require.Equal(t, authentication.User{
			ID: stored[1].ID, Email: "an@example.com", Role: authentication.RoleUser, Locale: "vi", CreatedAt: start, UpdatedAt: start,
		}, stored[1])
		require.Equal(t, map[string]string{"an@example.com": stored[1].ID}, ids)
	})
	t.Run("returns the repository's errors", func(t *testing.T) {
		t.Parallel()
		invited, users := setup(t)
		users.EXPECT().CreateInvited(ctx, gomock.Any()).Return(nil, errBroken)
		_, err := invited.CreateInvited(ctx, []string{email}, "en", start)
		require.ErrorIs(t, err, errBroken)
		users.EXPECT().DeleteInvited(ctx, []string{userID}, start).Return(int64(1), errBroken)
		n, err := invited.DeleteInvited(ctx, []string{userID}, start)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, int64(1), n)
		users.EXPECT().EraseInvited(ctx, []string{userID}).Return(errBroken)
		require.ErrorIs(t, invited.EraseInvited(ctx, []string{userID}), errBroken)
	})
}
