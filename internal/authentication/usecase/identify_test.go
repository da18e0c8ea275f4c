package usecase_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user authentication.User
		err  error
		want error
	}{
		"active":           {user: activeUser()},
		"no longer active": {user: pendingUser(), want: authentication.ErrUnauthenticated},
		"gone":             {err: authentication.ErrUserNotFound, want: authentication.ErrUnauthenticated},
		"database away":    {err: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().ByID(outside, userID).Return(tc.user, tc.err)
			got, err := f.Identify(context.Background(), authentication.Claims{UserID: userID, Role: authentication.RoleAdmin})
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.user, got)
		})
	}
}
