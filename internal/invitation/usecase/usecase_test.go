package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

// TestAuthorization holds for every verb of an administrator.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		actor   invitation.Actor
		account invitation.Account
		err     error
		want    error
	}{
		"a user by the token": {actor: invitation.Actor{UserID: adminID}, want: invitation.ErrForbidden},
		"a user by now":       {actor: actor, account: invitation.Account{Active: true}, want: invitation.ErrForbidden},
		"inactive":            {actor: actor, account: invitation.Account{Admin: true}, want: invitation.ErrUnauthenticated},
		"gone":                {actor: actor, err: invitation.ErrAccountNotFound, want: invitation.ErrUnauthenticated},
		"unknown":             {actor: actor, err: errBroken, want: errBroken},
	} {
		t.Run("refuses an actor who is "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if tc.actor.Admin {
				f.finder.EXPECT().Account(gomock.Any(), adminID).Return(tc.account, tc.err).Times(2)
			}
			_, err := f.Invite(context.Background(), tc.actor, invitation.Upload{Addresses: lines{"an@example.com"}})
			require.ErrorIs(t, err, tc.want)
			_, err = f.Cancel(context.Background(), tc.actor, batchID)
			require.ErrorIs(t, err, tc.want)
			f.longTx.requireTx(t, 0, 0)
		})
	}
}
