package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

func TestActivate(t *testing.T) {
	t.Parallel()
	activated := activeUser()
	activated.PasswordHash, activated.UpdatedAt = "new hash", start
	for name, tc := range map[string]struct {
		user   authentication.User
		lock   error
		update bool
		trial  error
		want   error
	}{
		"activates an invited user":         {user: invitedUser(), update: true},
		"replaces an unproven password":     {user: pendingUser(), update: true},
		"refuses a user who is active":      {user: activeUser(), want: authentication.ErrAlreadyVerified},
		"refuses a user who is gone":        {lock: authentication.ErrUserNotFound, want: authentication.ErrUserNotFound},
		"fails when the trial cannot begin": {user: invitedUser(), update: true, trial: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			calls := []*gomock.Call{f.users.EXPECT().LockByID(inside, userID).Return(tc.user, tc.lock)}
			if tc.update {
				calls = append(calls, f.users.EXPECT().Update(inside, activated),
					f.trials.EXPECT().StartTrial(inside, userID, email).Return(tc.trial))
			}
			if tc.want == nil {
				f.opens(activated, false)
			}
			gomock.InOrder(calls...)
			var session authentication.Login
			err := f.tx.WithinTxRetry(context.Background(), func(ctx context.Context) (err error) {
				session, err = f.Activate(ctx, userID, "new hash", client())
				return err
			})
			require.ErrorIs(t, err, tc.want)
			if tc.want == nil {
				require.Equal(t, event.UserVerified, f.events.Events()[0].Key)
				require.Equal(t, authentication.Login{User: activated, Token: token}, session)
			}
		})
	}
}

// invitedUser has nothing but an address.
func invitedUser() authentication.User {
	u := pendingUser()
	u.PasswordHash = ""
	return u
}
