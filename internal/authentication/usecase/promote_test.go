package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/usecase"
)

func (f *fixture) promoter() *usecase.Promoter {
	return usecase.NewPromoter(usecase.PromoterDeps{Tx: f.tx, Users: f.users, Clock: f.clock})
}

func TestPromote(t *testing.T) {
	t.Parallel()

	t.Run("makes an administrator", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(time.Hour)
		admin := activeUser()
		admin.Role, admin.TokensValidAfter, admin.UpdatedAt = authentication.RoleAdmin, f.clock.now, f.clock.now
		f.users.EXPECT().LockByEmail(inside, email).Return(activeUser(), nil)
		f.users.EXPECT().Update(inside, admin)
		require.NoError(t, f.promoter().Promote(context.Background(), email+" "))
		f.requireTx(t, 1, 0)
	})

	t.Run("writes nothing for an administrator", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		admin := activeUser()
		admin.Role = authentication.RoleAdmin
		f.users.EXPECT().LockByEmail(inside, email).Return(admin, nil)
		require.NoError(t, f.promoter().Promote(context.Background(), email))
	})

	t.Run("refuses an unknown address", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		require.ErrorIs(t, f.promoter().Promote(context.Background(), "an"), authentication.ErrInvalidEmail)

		f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, authentication.ErrUserNotFound)
		require.ErrorIs(t, f.promoter().Promote(context.Background(), email), authentication.ErrUserNotFound)
		f.requireTx(t, 0, 1)
	})
}
