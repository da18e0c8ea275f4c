package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

// tokensEnded is a user whose earlier tokens ended a moment after at.
func tokensEnded(at time.Time) authentication.User {
	u := activeUser()
	u.TokensValidAfter = at.Add(999 * time.Millisecond)
	return u
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user authentication.User
		err  error
		want error
	}{
		"active":           {user: activeUser()},
		"token of now":     {user: tokensEnded(start)},
		"token of before":  {user: tokensEnded(start.Add(time.Second)), want: authentication.ErrUnauthenticated},
		"no longer active": {user: pendingUser(), want: authentication.ErrUnauthenticated},
		"gone":             {err: authentication.ErrUserNotFound, want: authentication.ErrUnauthenticated},
		"database away":    {err: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().ByID(outside, userID).Return(tc.user, tc.err)
			got, err := f.Identify(context.Background(), authentication.Claims{
				UserID: userID, Role: authentication.RoleAdmin, IssuedAt: start,
			})
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
